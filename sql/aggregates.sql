-- avg and sum. One transition state serves both; it is serialisable, so both run in parallel plans.

CREATE FUNCTION image_embedding_accum(internal, image_embedding) RETURNS internal
    AS 'MODULE_PATHNAME', 'image_embedding_accum_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION image_embedding_combine(internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'image_embedding_combine_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION image_embedding_serialize(internal) RETURNS bytea
    AS 'MODULE_PATHNAME', 'image_embedding_serialize_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_deserialize(bytea, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'image_embedding_deserialize_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_avg_final(internal) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_avg_final_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION image_embedding_sum_final(internal) RETURNS double precision[]
    AS 'MODULE_PATHNAME', 'image_embedding_sum_final_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION image_embedding_accum(internal, image_embedding) IS 'aggregate transition function';
COMMENT ON FUNCTION image_embedding_combine(internal, internal) IS 'aggregate combine function';
COMMENT ON FUNCTION image_embedding_serialize(internal) IS 'aggregate serial function';
COMMENT ON FUNCTION image_embedding_deserialize(bytea, internal) IS 'aggregate deserial function';
COMMENT ON FUNCTION image_embedding_avg_final(internal) IS 'aggregate final function';
COMMENT ON FUNCTION image_embedding_sum_final(internal) IS 'aggregate final function';

CREATE AGGREGATE avg(image_embedding) (
    SFUNC = image_embedding_accum,
    STYPE = internal,
    FINALFUNC = image_embedding_avg_final,
    COMBINEFUNC = image_embedding_combine,
    SERIALFUNC = image_embedding_serialize,
    DESERIALFUNC = image_embedding_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(image_embedding) IS 'the element-wise mean of all non-null embeddings';

CREATE AGGREGATE sum(image_embedding) (
    SFUNC = image_embedding_accum,
    STYPE = internal,
    FINALFUNC = image_embedding_sum_final,
    COMBINEFUNC = image_embedding_combine,
    SERIALFUNC = image_embedding_serialize,
    DESERIALFUNC = image_embedding_deserialize,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(image_embedding) IS
    'the element-wise sum of all non-null embeddings, as double precision[] because it can exceed half precision';
