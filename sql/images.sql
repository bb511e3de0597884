-- Looking at pictures in SQL.

CREATE FUNCTION image_info(
    image bytea, OUT format text, OUT width integer, OUT height integer, OUT orientation integer, OUT has_alpha boolean
) RETURNS record
    AS 'MODULE_PATHNAME', 'image_info_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION image_info(bytea) IS
    'format, size as stored, EXIF orientation (1 to 8) and transparency of a picture, from its header';

CREATE FUNCTION image_thumbnail(image bytea, max_side integer DEFAULT 160, format text DEFAULT 'jpeg') RETURNS bytea
    AS 'MODULE_PATHNAME', 'image_thumbnail_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000;
COMMENT ON FUNCTION image_thumbnail(bytea, integer, text) IS
    'the picture upright and no larger than max_side pixels a side, as jpeg, png or webp; never enlarged';

CREATE FUNCTION image_data_uri(image bytea) RETURNS text
    AS 'MODULE_PATHNAME', 'image_data_uri_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION image_data_uri(bytea) IS 'the picture as a data: URI, for an HTML page or a BI tool''s image column';

CREATE FUNCTION image_contact_sheet(images bytea[], columns integer DEFAULT 3, captions text[] DEFAULT NULL) RETURNS bytea
    AS 'MODULE_PATHNAME', 'image_contact_sheet_wrapper' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 500000;
COMMENT ON FUNCTION image_contact_sheet(bytea[], integer, text[]) IS
    'the pictures in a grid with their captions, as a PNG; a NULL or broken picture leaves a crossed-out cell';
