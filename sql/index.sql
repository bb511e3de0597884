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

-- The planner derives an index condition with this operator from a condition like embedding <-> $1 < 0.4 where the rows
-- come in the order of that distance: the scan ends at the cutoff. Its support function refuses it in a query.
CREATE FUNCTION vs_hnsw_cutoff_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'vs_hnsw_cutoff_support_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vs_hnsw_cutoff_support(internal) IS 'planner support: refuses the operator ~<= in a query';
CREATE FUNCTION vs_hnsw_cutoff(image_embedding, double precision) RETURNS boolean
    AS 'MODULE_PATHNAME', 'vs_hnsw_cutoff_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    SUPPORT vs_hnsw_cutoff_support;
CREATE FUNCTION vs_hnsw_cutoff_or_nan(image_embedding, double precision) RETURNS boolean
    AS 'MODULE_PATHNAME', 'vs_hnsw_cutoff_or_nan_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    SUPPORT vs_hnsw_cutoff_support;
COMMENT ON FUNCTION vs_hnsw_cutoff(image_embedding, double precision) IS 'implementation of ~<= operator';
COMMENT ON FUNCTION vs_hnsw_cutoff_or_nan(image_embedding, double precision) IS 'implementation of ~<=? operator';
CREATE OPERATOR ~<= (LEFTARG = image_embedding, RIGHTARG = double precision, FUNCTION = vs_hnsw_cutoff);
CREATE OPERATOR ~<=? (LEFTARG = image_embedding, RIGHTARG = double precision, FUNCTION = vs_hnsw_cutoff_or_nan);
COMMENT ON OPERATOR ~<= (image_embedding, double precision) IS
    'made by the planner for vs_hnsw: no farther than that from the vector that the scan is ordered by';
COMMENT ON OPERATOR ~<=? (image_embedding, double precision) IS
    'made by the planner for vs_hnsw: no farther than that from the vector that the scan is ordered by, or NaN';

CREATE OPERATOR FAMILY image_embedding_l2_ops USING vs_hnsw;
CREATE OPERATOR CLASS image_embedding_l2_ops DEFAULT FOR TYPE image_embedding USING vs_hnsw
    FAMILY image_embedding_l2_ops AS
    OPERATOR 1 <-> (image_embedding, image_embedding) FOR ORDER BY float_ops,
    OPERATOR 2 ~<= (image_embedding, double precision),
    FUNCTION 1 vs_hnsw_l2_metric(internal);
CREATE OPERATOR FAMILY image_embedding_cosine_ops USING vs_hnsw;
CREATE OPERATOR CLASS image_embedding_cosine_ops FOR TYPE image_embedding USING vs_hnsw
    FAMILY image_embedding_cosine_ops AS
    OPERATOR 1 <=> (image_embedding, image_embedding) FOR ORDER BY float_ops,
    OPERATOR 2 ~<= (image_embedding, double precision),
    OPERATOR 3 ~<=? (image_embedding, double precision),
    FUNCTION 1 vs_hnsw_cosine_metric(internal);
CREATE OPERATOR FAMILY image_embedding_ip_ops USING vs_hnsw;
CREATE OPERATOR CLASS image_embedding_ip_ops FOR TYPE image_embedding USING vs_hnsw
    FAMILY image_embedding_ip_ops AS
    OPERATOR 1 <#> (image_embedding, image_embedding) FOR ORDER BY float_ops,
    OPERATOR 2 ~<= (image_embedding, double precision),
    FUNCTION 1 vs_hnsw_ip_metric(internal);

COMMENT ON OPERATOR FAMILY image_embedding_l2_ops USING vs_hnsw IS 'nearest by Euclidean distance, ORDER BY <->';
COMMENT ON OPERATOR CLASS image_embedding_l2_ops USING vs_hnsw IS 'nearest by Euclidean distance, ORDER BY <->';
COMMENT ON OPERATOR FAMILY image_embedding_cosine_ops USING vs_hnsw IS 'nearest by cosine distance, ORDER BY <=>';
COMMENT ON OPERATOR CLASS image_embedding_cosine_ops USING vs_hnsw IS 'nearest by cosine distance, ORDER BY <=>';
COMMENT ON OPERATOR FAMILY image_embedding_ip_ops USING vs_hnsw IS 'nearest by negative inner product, ORDER BY <#>';
COMMENT ON OPERATOR CLASS image_embedding_ip_ops USING vs_hnsw IS 'nearest by negative inner product, ORDER BY <#>';

-- Looking at an index. For its owner and superusers.

CREATE FUNCTION vs_hnsw_stats(
    index regclass,
    OUT metric text, OUT dims integer, OUT m integer, OUT ef_construction integer, OUT model text, OUT entry_point text,
    OUT pages bigint, OUT node_pages bigint, OUT side_pages bigint, OUT slots_per_page integer,
    OUT nodes bigint, OUT dead_nodes bigint, OUT free_slots bigint, OUT rows bigint, OUT killed_rows bigint,
    OUT unreachable_nodes bigint, OUT mean_degree double precision, OUT nodes_by_level bigint[]
) AS 'MODULE_PATHNAME', 'vs_hnsw_stats_wrapper' LANGUAGE C STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vs_hnsw_stats(regclass) IS 'what a vs_hnsw index holds, by reading all of it';

CREATE FUNCTION vs_hnsw_check(index regclass, OUT block bigint, OUT problem text) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'vs_hnsw_check_wrapper' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vs_hnsw_check(regclass) IS
    'problems of a vs_hnsw index, no row if there is none; locks the table against writes';

CREATE FUNCTION vs_hnsw_recall(index regclass, queries integer DEFAULT 100, k integer DEFAULT 10)
    RETURNS double precision
    AS 'MODULE_PATHNAME', 'vs_hnsw_recall_wrapper' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vs_hnsw_recall(regclass, integer, integer) IS
    'share of the k nearest rows that the index finds with the present settings, for sampled rows as queries';
