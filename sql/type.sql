-- The type image_embedding: shell type, input and output, the type itself, and the coercion to image_embedding(n).

CREATE TYPE image_embedding;

CREATE FUNCTION image_embedding_in(cstring, oid, integer) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_in_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding_in(cstring, oid, integer) IS 'I/O: reads ''[0.5,0.25]'' or ''[0.5,0.25]@9f3c21aa''';

CREATE FUNCTION image_embedding_out(image_embedding) RETURNS cstring
    AS 'MODULE_PATHNAME', 'image_embedding_out_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding_out(image_embedding) IS 'I/O: writes the shortest text that reads back as the same value';

CREATE FUNCTION image_embedding_recv(internal, oid, integer) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_recv_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding_recv(internal, oid, integer) IS 'I/O: binary input';

CREATE FUNCTION image_embedding_send(image_embedding) RETURNS bytea
    AS 'MODULE_PATHNAME', 'image_embedding_send_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding_send(image_embedding) IS 'I/O: binary output';

CREATE FUNCTION image_embedding_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME', 'image_embedding_typmod_in_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding_typmod_in(cstring[]) IS 'I/O: the number of dimensions in image_embedding(n)';

CREATE TYPE image_embedding (
    INPUT = image_embedding_in,
    OUTPUT = image_embedding_out,
    RECEIVE = image_embedding_recv,
    SEND = image_embedding_send,
    TYPMOD_IN = image_embedding_typmod_in,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE image_embedding IS
    'embedding of a picture or a text: 1 to 16,000 half-precision numbers and the tag of the model that made them';

CREATE FUNCTION image_embedding(image_embedding, integer, boolean) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'image_embedding_enforce_typmod_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding(image_embedding, integer, boolean) IS
    'checks the number of dimensions against image_embedding(n)';

CREATE CAST (image_embedding AS image_embedding)
    WITH FUNCTION image_embedding(image_embedding, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (image_embedding AS image_embedding) IS 'checks the number of dimensions against image_embedding(n)';

-- Casts from and to arrays. An array names no model, so what comes from one is untagged.

CREATE FUNCTION array_to_image_embedding(real[], integer, boolean) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'array_to_image_embedding_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION array_to_image_embedding(double precision[], integer, boolean) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'array_to_image_embedding_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION array_to_image_embedding(smallint[], integer, boolean) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'array_to_image_embedding_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION array_to_image_embedding(integer[], integer, boolean) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'array_to_image_embedding_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION array_to_image_embedding(bigint[], integer, boolean) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'array_to_image_embedding_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION array_to_image_embedding(numeric[], integer, boolean) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'array_to_image_embedding_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_to_real_array(image_embedding, integer, boolean) RETURNS real[]
    AS 'MODULE_PATHNAME', 'image_embedding_to_real_array_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_image_embedding(real[], integer, boolean) IS 'converts real[] to an untagged image_embedding';
COMMENT ON FUNCTION array_to_image_embedding(double precision[], integer, boolean) IS
    'converts double precision[] to an untagged image_embedding';
COMMENT ON FUNCTION array_to_image_embedding(smallint[], integer, boolean) IS
    'converts smallint[] to an untagged image_embedding';
COMMENT ON FUNCTION array_to_image_embedding(integer[], integer, boolean) IS
    'converts integer[] to an untagged image_embedding';
COMMENT ON FUNCTION array_to_image_embedding(bigint[], integer, boolean) IS
    'converts bigint[] to an untagged image_embedding';
COMMENT ON FUNCTION array_to_image_embedding(numeric[], integer, boolean) IS
    'converts numeric[] to an untagged image_embedding';
COMMENT ON FUNCTION image_embedding_to_real_array(image_embedding, integer, boolean) IS
    'converts an image_embedding to real[], without loss; the model tag is dropped';

CREATE CAST (real[] AS image_embedding)
    WITH FUNCTION array_to_image_embedding(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS image_embedding)
    WITH FUNCTION array_to_image_embedding(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (smallint[] AS image_embedding)
    WITH FUNCTION array_to_image_embedding(smallint[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (integer[] AS image_embedding)
    WITH FUNCTION array_to_image_embedding(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (bigint[] AS image_embedding)
    WITH FUNCTION array_to_image_embedding(bigint[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (numeric[] AS image_embedding)
    WITH FUNCTION array_to_image_embedding(numeric[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (image_embedding AS real[])
    WITH FUNCTION image_embedding_to_real_array(image_embedding, integer, boolean) AS IMPLICIT;

COMMENT ON CAST (real[] AS image_embedding) IS 'rounds to half precision; the result is untagged';
COMMENT ON CAST (double precision[] AS image_embedding) IS 'rounds to half precision; the result is untagged';
COMMENT ON CAST (smallint[] AS image_embedding) IS 'rounds to half precision; the result is untagged';
COMMENT ON CAST (integer[] AS image_embedding) IS 'rounds to half precision; the result is untagged';
COMMENT ON CAST (bigint[] AS image_embedding) IS 'rounds to half precision; the result is untagged';
COMMENT ON CAST (numeric[] AS image_embedding) IS 'rounds to half precision; the result is untagged';
COMMENT ON CAST (image_embedding AS real[]) IS 'exact; the model tag is dropped';

-- to_json, row_to_json, json_agg and their like, also for jsonb, use the first of these by themselves.

CREATE FUNCTION image_embedding_to_json(image_embedding) RETURNS json
    AS 'MODULE_PATHNAME', 'image_embedding_to_json_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION image_embedding_to_jsonb(image_embedding) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'image_embedding_to_jsonb_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION image_embedding_to_json(image_embedding) IS 'the elements as an array; the model tag is dropped';
COMMENT ON FUNCTION image_embedding_to_jsonb(image_embedding) IS 'the elements as an array; the model tag is dropped';

CREATE CAST (image_embedding AS json) WITH FUNCTION image_embedding_to_json(image_embedding);
CREATE CAST (image_embedding AS jsonb) WITH FUNCTION image_embedding_to_jsonb(image_embedding);
COMMENT ON CAST (image_embedding AS json) IS 'the elements as an array; the model tag is dropped';
COMMENT ON CAST (image_embedding AS jsonb) IS 'the elements as an array; the model tag is dropped';
