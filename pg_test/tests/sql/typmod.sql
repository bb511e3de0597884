-- image_embedding(n)
CREATE TABLE items (id int, embedding image_embedding(3));
\d items
INSERT INTO items VALUES (1, '[1,2,3]'), (2, NULL);
INSERT INTO items VALUES (3, '[1,2]');
INSERT INTO items VALUES (3, ARRAY[1, 2, 3, 4]);
UPDATE items SET embedding = '[1]' WHERE id = 1;
SELECT '[1,2,3]'::image_embedding(3), '[1,2,3]'::image_embedding(2);
SELECT '[1,2]'::image_embedding(2)::image_embedding(3);
ALTER TABLE items ALTER embedding TYPE image_embedding(4);
ALTER TABLE items ALTER embedding TYPE image_embedding;
INSERT INTO items VALUES (3, '[1,2]');
SELECT * FROM items ORDER BY id;
-- Numbers of dimensions that no embedding has.
CREATE TABLE wrong (embedding image_embedding(0));
CREATE TABLE wrong (embedding image_embedding(16001));
CREATE TABLE wrong (embedding image_embedding(3, 4));
CREATE TABLE wrong (embedding image_embedding('three'));
