-- A total order: dimensions, elements, tag. Never an error, whatever a column mixes.
CREATE TABLE items (embedding image_embedding);
INSERT INTO items VALUES ('[2]'), ('[1,2]'), ('[1]'), ('[1]@9f3c21aa'), ('[1]@0000000a'), ('[-1]'), ('[1,-2]'), (NULL), ('[1]');
SELECT * FROM items ORDER BY embedding;
SELECT * FROM items ORDER BY embedding DESC NULLS LAST;
SELECT embedding, count(*) FROM items GROUP BY embedding ORDER BY embedding;
SELECT count(DISTINCT embedding) FROM items;
SELECT * FROM items WHERE embedding > '[1]@0000000a' ORDER BY embedding;
SELECT min(embedding::text), max(embedding::text) FROM items;
-- Minus zero is zero.
SELECT '[0]'::image_embedding = '[-0]' AS equal, '[0]'::image_embedding < '[-0]' AS less,
       image_embedding_hash('[0]') = image_embedding_hash('[-0]') AS same_hash;
-- Indexes
CREATE INDEX items_btree ON items (embedding);
CREATE INDEX items_hash ON items USING hash (embedding);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS off) SELECT * FROM items ORDER BY embedding;
SELECT * FROM items WHERE embedding = '[1]';
CREATE UNIQUE INDEX ON items (embedding);
DELETE FROM items a USING items b WHERE a.ctid > b.ctid AND a.embedding = b.embedding;
CREATE UNIQUE INDEX items_unique ON items (embedding);
INSERT INTO items VALUES ('[1]');
