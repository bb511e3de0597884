CREATE TABLE items (kind text, embedding image_embedding);
INSERT INTO items VALUES ('a', '[1,2]'), ('a', '[3,5]'), ('a', NULL), ('b', '[10,20]@9f3c21aa'), ('c', NULL);
SELECT kind, avg(embedding), sum(embedding), count(embedding) FROM items GROUP BY kind ORDER BY kind;
SELECT avg(embedding), sum(embedding) FROM items;
SELECT avg(embedding), sum(embedding) FROM items WHERE false;
SELECT pg_typeof(avg(embedding)), pg_typeof(sum(embedding)) FROM items;
-- A sum can exceed half precision; a mean cannot.
SELECT avg(e), sum(e) FROM (VALUES ('[65504]'::image_embedding), ('[65504]')) t (e);
-- What does not belong together
INSERT INTO items VALUES ('d', '[1,2,3]');
SELECT avg(embedding) FROM items;
SELECT sum(embedding) FROM items;
DELETE FROM items WHERE kind = 'd';
INSERT INTO items VALUES ('e', '[1,2]@0000000a');
SELECT avg(embedding) FROM items;
