-- From arrays of numbers, and back.
SELECT ARRAY[1, 2, 3]::image_embedding AS "integer";
SELECT ARRAY[1.5, 2.25]::real[]::image_embedding AS "real";
SELECT ARRAY[1.5, 0.1]::float8[]::image_embedding AS "double precision";
SELECT ARRAY[1.5, 0.1]::numeric[]::image_embedding AS "numeric";
SELECT '[1,0.5,-0]'::image_embedding::real[];
SELECT '[0.1]'::image_embedding::real[];
-- The tag names a model, and an array has none.
SELECT '[1,2]@9f3c21aa'::image_embedding::real[]::image_embedding;
-- To real[] where a real[] is wanted, from an array where a column is to be filled; elsewhere the cast is written.
SELECT array_length('[1,2,3]'::image_embedding::real[], 1);
CREATE TABLE items (embedding image_embedding, numbers real[]);
INSERT INTO items (embedding) VALUES (ARRAY[1, 2]), (ARRAY[0.5, 1]::float8[]), ('{3,4}'::numeric[]);
UPDATE items SET numbers = embedding;
SELECT * FROM items;
SELECT l2_normalize(ARRAY[3, 4]);
-- What no embedding can be made of.
SELECT '{}'::real[]::image_embedding;
SELECT '{1,NULL}'::real[]::image_embedding;
SELECT '{{1,2},{3,4}}'::real[]::image_embedding;
SELECT '{1,NaN}'::float8[]::image_embedding;
SELECT '{1,1e10}'::float8[]::image_embedding;
SELECT ARRAY[1, 2]::text[]::image_embedding;
