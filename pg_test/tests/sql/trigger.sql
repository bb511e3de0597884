CREATE TABLE products (id int PRIMARY KEY, title text, photo bytea, embedding image_embedding(12));
CREATE TRIGGER embed BEFORE INSERT OR UPDATE OF photo ON products
    FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'colours');
\set photo 'decode(''R0lGODdhAgABAIAAAP8AAP///ywAAAAAAgABAAACAkQKADs='', ''base64'')'
INSERT INTO products VALUES (1, 'shoes', :photo), (2, 'no photo yet', NULL);
SELECT id, title, embedding_dims(embedding), embedding = embed_image(photo, 'colours') AS right FROM products ORDER BY id;
UPDATE products SET photo = :photo WHERE id = 2;
UPDATE products SET photo = NULL WHERE id = 1;
SELECT id, title, embedding_dims(embedding), embedding = embed_image(photo, 'colours') AS right FROM products ORDER BY id;
\set VERBOSITY terse
INSERT INTO products VALUES (3, 'broken', 'no picture');
\set VERBOSITY default
SELECT count(*) FROM products;
-- Definitions that cannot work are refused when the trigger fires, with the name that is wrong.
CREATE OR REPLACE TRIGGER embed BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('picture', 'embedding');
INSERT INTO products VALUES (3, 'trousers', :photo);
CREATE OR REPLACE TRIGGER embed BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('title', 'embedding');
INSERT INTO products VALUES (3, 'trousers', :photo);
CREATE OR REPLACE TRIGGER embed BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'title');
INSERT INTO products VALUES (3, 'trousers', :photo);
CREATE OR REPLACE TRIGGER embed BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo');
INSERT INTO products VALUES (3, 'trousers', :photo);
CREATE OR REPLACE TRIGGER embed AFTER INSERT ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding');
INSERT INTO products VALUES (3, 'trousers', :photo);
CREATE OR REPLACE TRIGGER embed BEFORE INSERT ON products FOR EACH STATEMENT EXECUTE FUNCTION embed_on_write('photo', 'embedding');
INSERT INTO products VALUES (3, 'trousers', :photo);
CREATE OR REPLACE TRIGGER embed BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'vs-mini-1');
INSERT INTO products VALUES (3, 'trousers', :photo);
