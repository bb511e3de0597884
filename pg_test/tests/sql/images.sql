-- A GIF of 2 x 1 pixels, red and white, and a PNG of 1 x 1, half transparent.
CREATE TABLE photos (name text PRIMARY KEY, photo bytea);
INSERT INTO photos VALUES
    ('gif', decode('R0lGODdhAgABAIAAAP8AAP///ywAAAAAAgABAAACAkQKADs=', 'base64')),
    ('png', decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==', 'base64')),
    ('text', 'This is no picture.');
SELECT name, (image_info(photo)).* FROM photos WHERE name <> 'text' ORDER BY name;
-- The reasons are the decoders', in their words, so the first line alone.
\set VERBOSITY terse
SELECT * FROM image_info('This is no picture.');
SELECT image_data_uri(photo) FROM photos WHERE name = 'text';
\set VERBOSITY default
SELECT image_data_uri(photo) FROM photos WHERE name = 'gif';
SELECT t.format, width, height FROM photos, image_info(image_thumbnail(photo, 1, 'png')) t WHERE name <> 'text' ORDER BY name;
SELECT t.* FROM photos, image_info(image_thumbnail(photo)) t WHERE name = 'gif';
SELECT image_thumbnail(photo, 0) FROM photos WHERE name = 'gif';
SELECT image_thumbnail(photo, 10, 'gif') FROM photos WHERE name = 'gif';
\set VERBOSITY terse
SELECT image_thumbnail(photo) FROM photos WHERE name = 'text';
\set VERBOSITY default
SELECT (image_info(image_contact_sheet(array_agg(photo), 3, array_agg(name)))).format FROM photos;
SELECT image_contact_sheet(array_agg(photo), 0) FROM photos;
SELECT image_info(''), image_info(NULL);
