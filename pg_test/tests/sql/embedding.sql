-- The model "colours" is the mean colour of each quarter of a picture: red, green, blue, each from 0 to 1.
CREATE TABLE photos (name text PRIMARY KEY, photo bytea);
INSERT INTO photos VALUES
    ('red and white', decode('R0lGODdhAgABAIAAAP8AAP///ywAAAAAAgABAAACAkQKADs=', 'base64')),
    ('broken', decode('R0lGODdhAgABAIAAAP8AAP///ywAAAAAAgAB', 'base64')),
    ('text', 'This is no picture.');
SELECT embedding_dims(embed_image(photo, 'colours')) FROM photos WHERE name = 'red and white';
-- The reasons are the decoders', in their words, so the first line alone.
\set VERBOSITY terse
SELECT embed_image(photo, 'colours') FROM photos WHERE name = 'broken';
SELECT embed_image(photo, 'colours') FROM photos WHERE name = 'text';
SELECT embed_image('', 'colours');
SELECT embed_image(NULL, 'colours'), embed_image(NULL), embed_images(NULL, 'colours');
\set VERBOSITY default
SELECT embed_image(photo, 'no-such-model') FROM photos WHERE name = 'red and white';
SELECT embed_image(photo, '../colours') FROM photos WHERE name = 'red and white';
SELECT embed_text('red', 'colours');
-- A batch, with its holes; and one with a broken picture in it.
SELECT array_length(e, 1) AS length, e[2] IS NULL AS hole, e[1] = e[3] AS same
FROM (SELECT embed_images(ARRAY[photo, NULL, photo], 'colours') AS e FROM photos WHERE name = 'red and white') s;
SELECT embed_images('{}', 'colours');
\set VERBOSITY terse
SELECT embed_images(array_agg(photo ORDER BY name DESC), 'colours') FROM photos WHERE name <> 'text';
SELECT embed_images(ARRAY[g.photo, NULL, b.photo], 'colours') FROM photos g, photos b WHERE g.name = 'red and white' AND b.name = 'broken';
\set VERBOSITY default
-- The model of a session.
SET visual_search.default_model = 'colours';
SELECT embed_image(photo) = embed_image(photo, 'colours') AS same FROM photos WHERE name = 'red and white';
SET visual_search.default_model = 'no-such-model';
SELECT embed_image(photo) FROM photos WHERE name = 'red and white';
RESET visual_search.default_model;
SELECT name, sides, dims, source, is_default, problem FROM visual_search.models ORDER BY name;
