-- Functions and operators on embeddings, and the operator classes for sorting and hashing.

-- Distances. What one costs depends on its dimensions, so the planner asks; COST is for vectors of unknown length.

CREATE FUNCTION image_embedding_distance_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'image_embedding_distance_support_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding_distance_support(internal) IS
    'planner support: the cost of a distance; the operator in place of its function';

CREATE FUNCTION l2_distance(image_embedding, image_embedding) RETURNS double precision
    AS 'MODULE_PATHNAME', 'l2_distance_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10
    SUPPORT image_embedding_distance_support;
CREATE FUNCTION cosine_distance(image_embedding, image_embedding) RETURNS double precision
    AS 'MODULE_PATHNAME', 'cosine_distance_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10
    SUPPORT image_embedding_distance_support;
CREATE FUNCTION negative_inner_product(image_embedding, image_embedding) RETURNS double precision
    AS 'MODULE_PATHNAME', 'negative_inner_product_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10
    SUPPORT image_embedding_distance_support;
CREATE FUNCTION inner_product(image_embedding, image_embedding) RETURNS double precision
    AS 'MODULE_PATHNAME', 'inner_product_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10
    SUPPORT image_embedding_distance_support;
CREATE FUNCTION l1_distance(image_embedding, image_embedding) RETURNS double precision
    AS 'MODULE_PATHNAME', 'l1_distance_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10
    SUPPORT image_embedding_distance_support;

COMMENT ON FUNCTION l2_distance(image_embedding, image_embedding) IS 'Euclidean (L2) distance, implements <->';
COMMENT ON FUNCTION cosine_distance(image_embedding, image_embedding) IS
    'cosine distance, 1 - cos, from 0 to 2; NaN if a vector is zero; implements <=>';
COMMENT ON FUNCTION negative_inner_product(image_embedding, image_embedding) IS 'negative inner product, implements <#>';
COMMENT ON FUNCTION inner_product(image_embedding, image_embedding) IS 'inner product';
COMMENT ON FUNCTION l1_distance(image_embedding, image_embedding) IS 'taxicab (L1) distance, implements <+>';

CREATE OPERATOR <-> (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = l2_distance, COMMUTATOR = '<->'
);
CREATE OPERATOR <=> (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = cosine_distance, COMMUTATOR = '<=>'
);
CREATE OPERATOR <#> (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = negative_inner_product, COMMUTATOR = '<#>'
);
CREATE OPERATOR <+> (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = l1_distance, COMMUTATOR = '<+>'
);

COMMENT ON OPERATOR <-> (image_embedding, image_embedding) IS 'Euclidean (L2) distance';
COMMENT ON OPERATOR <=> (image_embedding, image_embedding) IS 'cosine distance';
COMMENT ON OPERATOR <#> (image_embedding, image_embedding) IS 'negative inner product';
COMMENT ON OPERATOR <+> (image_embedding, image_embedding) IS 'taxicab (L1) distance';

-- Properties

CREATE FUNCTION embedding_dims(image_embedding) RETURNS integer
    AS 'MODULE_PATHNAME', 'embedding_dims_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION embedding_norm(image_embedding) RETURNS double precision
    AS 'MODULE_PATHNAME', 'embedding_norm_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION embedding_model(image_embedding) RETURNS text
    AS 'MODULE_PATHNAME', 'embedding_model_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION l2_normalize(image_embedding) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'l2_normalize_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;

COMMENT ON FUNCTION embedding_dims(image_embedding) IS 'number of dimensions';
COMMENT ON FUNCTION embedding_norm(image_embedding) IS 'Euclidean norm';
COMMENT ON FUNCTION embedding_model(image_embedding) IS
    'tag of the model that made the embedding, as in visual_search.models, or NULL if untagged';
COMMENT ON FUNCTION l2_normalize(image_embedding) IS 'scales to Euclidean norm 1; a zero vector stays zero';

-- Arithmetic

CREATE FUNCTION image_embedding_add(image_embedding, image_embedding) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_add_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_sub(image_embedding, image_embedding) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_sub_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_mul(image_embedding, image_embedding) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_mul_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_scale(image_embedding, double precision) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_scale_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_scale(double precision, image_embedding) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_scale_left_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION image_embedding_add(image_embedding, image_embedding) IS 'implementation of + operator';
COMMENT ON FUNCTION image_embedding_sub(image_embedding, image_embedding) IS 'implementation of - operator';
COMMENT ON FUNCTION image_embedding_mul(image_embedding, image_embedding) IS 'implementation of * operator';
COMMENT ON FUNCTION image_embedding_scale(image_embedding, double precision) IS 'implementation of * operator';
COMMENT ON FUNCTION image_embedding_scale(double precision, image_embedding) IS 'implementation of * operator';

CREATE OPERATOR + (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_add, COMMUTATOR = +
);
CREATE OPERATOR - (LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_sub);
CREATE OPERATOR * (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_mul, COMMUTATOR = *
);
CREATE OPERATOR * (
    LEFTARG = image_embedding, RIGHTARG = double precision, FUNCTION = image_embedding_scale, COMMUTATOR = *
);
CREATE OPERATOR * (
    LEFTARG = double precision, RIGHTARG = image_embedding, FUNCTION = image_embedding_scale, COMMUTATOR = *
);

COMMENT ON OPERATOR + (image_embedding, image_embedding) IS 'element-wise sum';
COMMENT ON OPERATOR - (image_embedding, image_embedding) IS 'element-wise difference';
COMMENT ON OPERATOR * (image_embedding, image_embedding) IS 'element-wise product';
COMMENT ON OPERATOR * (image_embedding, double precision) IS 'multiply every element by a number';
COMMENT ON OPERATOR * (double precision, image_embedding) IS 'multiply every element by a number';

-- Comparison: dimensions first, then the elements in order, then the model tag; never an error.

CREATE FUNCTION image_embedding_lt(image_embedding, image_embedding) RETURNS boolean
    AS 'MODULE_PATHNAME', 'image_embedding_lt_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_le(image_embedding, image_embedding) RETURNS boolean
    AS 'MODULE_PATHNAME', 'image_embedding_le_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_eq(image_embedding, image_embedding) RETURNS boolean
    AS 'MODULE_PATHNAME', 'image_embedding_eq_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_ne(image_embedding, image_embedding) RETURNS boolean
    AS 'MODULE_PATHNAME', 'image_embedding_ne_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_ge(image_embedding, image_embedding) RETURNS boolean
    AS 'MODULE_PATHNAME', 'image_embedding_ge_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_gt(image_embedding, image_embedding) RETURNS boolean
    AS 'MODULE_PATHNAME', 'image_embedding_gt_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_cmp(image_embedding, image_embedding) RETURNS integer
    AS 'MODULE_PATHNAME', 'image_embedding_cmp_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_hash(image_embedding) RETURNS integer
    AS 'MODULE_PATHNAME', 'image_embedding_hash_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_hash_extended(image_embedding, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'image_embedding_hash_extended_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION image_embedding_lt(image_embedding, image_embedding) IS 'implementation of < operator';
COMMENT ON FUNCTION image_embedding_le(image_embedding, image_embedding) IS 'implementation of <= operator';
COMMENT ON FUNCTION image_embedding_eq(image_embedding, image_embedding) IS 'implementation of = operator';
COMMENT ON FUNCTION image_embedding_ne(image_embedding, image_embedding) IS 'implementation of <> operator';
COMMENT ON FUNCTION image_embedding_ge(image_embedding, image_embedding) IS 'implementation of >= operator';
COMMENT ON FUNCTION image_embedding_gt(image_embedding, image_embedding) IS 'implementation of > operator';
COMMENT ON FUNCTION image_embedding_cmp(image_embedding, image_embedding) IS 'less-equal-greater';
COMMENT ON FUNCTION image_embedding_hash(image_embedding) IS 'hash';
COMMENT ON FUNCTION image_embedding_hash_extended(image_embedding, bigint) IS 'hash with a seed';

CREATE OPERATOR < (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_lt,
    COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_le,
    COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR = (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_eq,
    COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR <> (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_ne,
    COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR >= (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_ge,
    COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
CREATE OPERATOR > (
    LEFTARG = image_embedding, RIGHTARG = image_embedding, FUNCTION = image_embedding_gt,
    COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

COMMENT ON OPERATOR < (image_embedding, image_embedding) IS 'less than';
COMMENT ON OPERATOR <= (image_embedding, image_embedding) IS 'less than or equal';
COMMENT ON OPERATOR = (image_embedding, image_embedding) IS 'equal';
COMMENT ON OPERATOR <> (image_embedding, image_embedding) IS 'not equal';
COMMENT ON OPERATOR >= (image_embedding, image_embedding) IS 'greater than or equal';
COMMENT ON OPERATOR > (image_embedding, image_embedding) IS 'greater than';

CREATE OPERATOR FAMILY image_embedding_ops USING btree;
CREATE OPERATOR CLASS image_embedding_ops DEFAULT FOR TYPE image_embedding USING btree FAMILY image_embedding_ops AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 image_embedding_cmp(image_embedding, image_embedding);
CREATE OPERATOR FAMILY image_embedding_ops USING hash;
CREATE OPERATOR CLASS image_embedding_ops DEFAULT FOR TYPE image_embedding USING hash FAMILY image_embedding_ops AS
    OPERATOR 1 =,
    FUNCTION 1 image_embedding_hash(image_embedding),
    FUNCTION 2 image_embedding_hash_extended(image_embedding, bigint);

COMMENT ON OPERATOR FAMILY image_embedding_ops USING btree IS 'ordering of image embeddings';
COMMENT ON OPERATOR CLASS image_embedding_ops USING btree IS 'ordering of image embeddings';
COMMENT ON OPERATOR FAMILY image_embedding_ops USING hash IS 'hashing of image embeddings';
COMMENT ON OPERATOR CLASS image_embedding_ops USING hash IS 'hashing of image embeddings';
