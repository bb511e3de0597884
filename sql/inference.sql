-- Embedding pictures and words, and what an administrator wants to know about models.

CREATE SCHEMA visual_search;
COMMENT ON SCHEMA visual_search IS 'administration of the visual_search extension: models and inference statistics';
GRANT USAGE ON SCHEMA visual_search TO PUBLIC;

-- Running a network costs as much as 100,000 simple operators, but within a query the same input is embedded once and
-- further calls are answered from memory. The planner multiplies a cost by the number of rows, so stating the first
-- call's would make it expect hours and compile every such query with JIT: 0.3 s for a scan of 3,000 rows that takes
-- 0.04 s. The cost stated is that of a call answered from memory.

CREATE FUNCTION embed_image(image bytea) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'embed_image_default_wrapper' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
CREATE FUNCTION embed_image(image bytea, model text) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'embed_image_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
CREATE FUNCTION embed_images(images bytea[]) RETURNS image_embedding[]
    AS 'MODULE_PATHNAME', 'embed_images_default_wrapper' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10000;
CREATE FUNCTION embed_images(images bytea[], model text) RETURNS image_embedding[]
    AS 'MODULE_PATHNAME', 'embed_images_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10000;
CREATE FUNCTION embed_text(query text) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'embed_text_default_wrapper' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
CREATE FUNCTION embed_text(query text, model text) RETURNS image_embedding
    AS 'MODULE_PATHNAME', 'embed_text_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION embed_image(bytea) IS
    'embedding of a picture (JPEG, PNG, WebP, GIF, BMP, TIFF) by the model visual_search.default_model';
COMMENT ON FUNCTION embed_image(bytea, text) IS 'embedding of a picture (JPEG, PNG, WebP, GIF, BMP, TIFF) by the named model';
COMMENT ON FUNCTION embed_images(bytea[]) IS
    'embeddings of several pictures in one batch, by the model visual_search.default_model; NULL gives NULL';
COMMENT ON FUNCTION embed_images(bytea[], text) IS 'embeddings of several pictures in one batch, by the named model; NULL gives NULL';
COMMENT ON FUNCTION embed_text(text) IS
    'embedding of words, in the same space as pictures, by the model visual_search.default_model';
COMMENT ON FUNCTION embed_text(text, text) IS 'embedding of words, in the same space as pictures, by the named model';

CREATE FUNCTION embed_on_write() RETURNS trigger
    AS 'MODULE_PATHNAME', 'embed_on_write_wrapper' LANGUAGE C;
COMMENT ON FUNCTION embed_on_write() IS
    'trigger for BEFORE INSERT OR UPDATE FOR EACH ROW: embed_on_write(photo_column, embedding_column [, model])';

-- Administration

CREATE FUNCTION visual_search.list_models(
    OUT name text, OUT sides text[], OUT dims integer, OUT tag text, OUT source text, OUT loaded boolean,
    OUT is_default boolean, OUT memory_bytes bigint, OUT problem text
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'list_models_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10 COST 10000;
COMMENT ON FUNCTION visual_search.list_models() IS 'the models that embed_image and embed_text can use';

CREATE VIEW visual_search.models AS
    SELECT name, sides, dims, tag, source, loaded, is_default, memory_bytes, problem FROM visual_search.list_models();
COMMENT ON VIEW visual_search.models IS
    'the built-in models and those in visual_search.model_dir; loaded and memory_bytes speak of this session';
COMMENT ON COLUMN visual_search.models.name IS 'name to pass to embed_image and embed_text';
COMMENT ON COLUMN visual_search.models.sides IS 'what the model embeds: image, text or both';
COMMENT ON COLUMN visual_search.models.dims IS 'number of dimensions of its embeddings';
COMMENT ON COLUMN visual_search.models.tag IS 'tag that its embeddings carry: the first 32 bits of the digest of its files';
COMMENT ON COLUMN visual_search.models.source IS 'built-in, or folder';
COMMENT ON COLUMN visual_search.models.loaded IS 'whether this session has loaded it';
COMMENT ON COLUMN visual_search.models.is_default IS 'whether visual_search.default_model names it';
COMMENT ON COLUMN visual_search.models.memory_bytes IS 'memory that it takes in this session, NULL if not loaded';
COMMENT ON COLUMN visual_search.models.problem IS 'why the model cannot be used, NULL if nothing is known against it';
GRANT SELECT ON visual_search.models TO PUBLIC;

CREATE FUNCTION visual_search.describe_model(name text) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'describe_model_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION visual_search.describe_model(text) IS 'inputs, outputs, preprocessing and pooling of a model';

CREATE FUNCTION visual_search.check_model(name text) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'check_model_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100000;
COMMENT ON FUNCTION visual_search.check_model(text) IS 'loads a model, tries it on a generated picture, and reports its timings';

CREATE FUNCTION visual_search.inference_stats(
    OUT images_embedded bigint, OUT texts_embedded bigint, OUT network_runs bigint, OUT cache_hits bigint,
    OUT cache_misses bigint, OUT cache_entries bigint, OUT cache_bytes bigint, OUT models_loaded bigint,
    OUT model_bytes bigint, OUT decode_ms double precision, OUT network_ms double precision
) RETURNS record
    AS 'MODULE_PATHNAME', 'inference_stats_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION visual_search.inference_stats() IS 'what this session has embedded, and what its caches hold';

CREATE FUNCTION visual_search.reset_inference() RETURNS void
    AS 'MODULE_PATHNAME', 'reset_inference_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION visual_search.reset_inference() IS
    'empties this session''s result cache, unloads its models and sets its statistics to zero';
