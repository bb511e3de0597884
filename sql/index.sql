-- The access method vs_hnsw and its operator classes.

CREATE FUNCTION vs_hnsw_handler(internal) RETURNS index_am_handler
    AS 'MODULE_PATHNAME', 'vs_hnsw_handler_wrapper' LANGUAGE C;
COMMENT ON FUNCTION vs_hnsw_handler(internal) IS 'vs_hnsw index access method handler';

CREATE ACCESS METHOD vs_hnsw TYPE INDEX HANDLER vs_hnsw_handler;
COMMENT ON ACCESS METHOD vs_hnsw IS 'nearest neighbours of image embeddings: an HNSW graph of 8-bit codes';

CREATE FUNCTION vs_hnsw_l2_metric(internal) RETURNS integer
    AS 'MODULE_PATHNAME', 'vs_hnsw_l2_metric_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION vs_hnsw_cosine_metric(internal) RETURNS integer
    AS 'MODULE_PATHNAME', 'vs_hnsw_cosine_metric_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION vs_hnsw_ip_metric(internal) RETURNS integer
    AS 'MODULE_PATHNAME', 'vs_hnsw_ip_metric_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vs_hnsw_l2_metric(internal) IS 'vs_hnsw support: names the Euclidean distance';
COMMENT ON FUNCTION vs_hnsw_cosine_metric(internal) IS 'vs_hnsw support: names the cosine distance';
COMMENT ON FUNCTION vs_hnsw_ip_metric(internal) IS 'vs_hnsw support: names the negative inner product';

CREATE OPERATOR FAMILY image_embedding_l2_ops USING vs_hnsw;
CREATE OPERATOR CLASS image_embedding_l2_ops DEFAULT FOR TYPE image_embedding USING vs_hnsw
    FAMILY image_embedding_l2_ops AS
    OPERATOR 1 <-> (image_embedding, image_embedding) FOR ORDER BY float_ops,
    FUNCTION 1 vs_hnsw_l2_metric(internal);
CREATE OPERATOR FAMILY image_embedding_cosine_ops USING vs_hnsw;
CREATE OPERATOR CLASS image_embedding_cosine_ops FOR TYPE image_embedding USING vs_hnsw
    FAMILY image_embedding_cosine_ops AS
    OPERATOR 1 <=> (image_embedding, image_embedding) FOR ORDER BY float_ops,
    FUNCTION 1 vs_hnsw_cosine_metric(internal);
CREATE OPERATOR FAMILY image_embedding_ip_ops USING vs_hnsw;
CREATE OPERATOR CLASS image_embedding_ip_ops FOR TYPE image_embedding USING vs_hnsw
    FAMILY image_embedding_ip_ops AS
    OPERATOR 1 <#> (image_embedding, image_embedding) FOR ORDER BY float_ops,
    FUNCTION 1 vs_hnsw_ip_metric(internal);

COMMENT ON OPERATOR FAMILY image_embedding_l2_ops USING vs_hnsw IS 'nearest by Euclidean distance, ORDER BY <->';
COMMENT ON OPERATOR CLASS image_embedding_l2_ops USING vs_hnsw IS 'nearest by Euclidean distance, ORDER BY <->';
COMMENT ON OPERATOR FAMILY image_embedding_cosine_ops USING vs_hnsw IS 'nearest by cosine distance, ORDER BY <=>';
COMMENT ON OPERATOR CLASS image_embedding_cosine_ops USING vs_hnsw IS 'nearest by cosine distance, ORDER BY <=>';
COMMENT ON OPERATOR FAMILY image_embedding_ip_ops USING vs_hnsw IS 'nearest by negative inner product, ORDER BY <#>';
COMMENT ON OPERATOR CLASS image_embedding_ip_ops USING vs_hnsw IS 'nearest by negative inner product, ORDER BY <#>';
