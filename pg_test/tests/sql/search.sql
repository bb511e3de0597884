-- Look-alikes by the model "colours", from pictures of one colour each, written as 1 x 1 BMP files.
CREATE FUNCTION colour(red int, green int, blue int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT decode('424d3a000000000000003600000028000000010000000100000001001800000000000400000000000000000000000000000000000000', 'hex')
           || decode(lpad(to_hex(blue), 2, '0') || lpad(to_hex(green), 2, '0') || lpad(to_hex(red), 2, '0') || '00', 'hex')
$$;
CREATE TABLE swatches (
    name text PRIMARY KEY,
    season text,
    photo bytea,
    embedding image_embedding(12) GENERATED ALWAYS AS (embed_image(photo, 'colours')) STORED
);
INSERT INTO swatches VALUES
    ('black', 'winter', colour(0, 0, 0)), ('white', 'winter', colour(255, 255, 255)), ('red', 'summer', colour(255, 0, 0)),
    ('dark red', 'winter', colour(128, 0, 0)), ('orange', 'summer', colour(255, 165, 0)), ('green', 'spring', colour(0, 255, 0)),
    ('blue', 'summer', colour(0, 0, 255)), ('navy', 'winter', colour(0, 0, 128)), ('unseen', 'spring', NULL);
-- Four quarters each, first of red, then of green, then of blue
SELECT name, embedding::real[] FROM swatches WHERE name IN ('red', 'white') ORDER BY name;
SET visual_search.default_model = 'colours';
-- Picture to pictures
SELECT name, round((embedding <-> embed_image(colour(250, 20, 20)))::numeric, 3) AS distance
FROM swatches ORDER BY embedding <-> embed_image(colour(250, 20, 20)), name LIMIT 4;
-- With a filter
SELECT name FROM swatches WHERE season = 'winter' ORDER BY embedding <-> embed_image(colour(250, 20, 20)) LIMIT 2;
-- By a stored picture, without itself
SELECT o.name FROM swatches s, swatches o WHERE s.name = 'navy' AND o.name <> s.name ORDER BY o.embedding <-> s.embedding LIMIT 2;
-- Rows without a picture come last.
SELECT name FROM swatches ORDER BY embedding <-> embed_image(colour(0, 0, 0)) OFFSET 7;
-- Each season's nearest
SELECT season, (SELECT name FROM swatches i WHERE i.season = o.season ORDER BY embedding <-> embed_image(colour(0, 250, 0)) LIMIT 1) AS nearest
FROM (SELECT DISTINCT season FROM swatches) o ORDER BY season;
-- The mean of a group is a colour, too.
SELECT name FROM swatches ORDER BY embedding <-> (SELECT avg(embedding) FROM swatches WHERE name IN ('red', 'black')) LIMIT 1;
-- A generated column is not written by hand.
UPDATE swatches SET embedding = NULL WHERE name = 'red';
