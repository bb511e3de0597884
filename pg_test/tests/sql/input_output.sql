-- Text in, text out: the shortest decimal that reads back as the same half-precision number.
SELECT '[1,2.5,-3]'::image_embedding;
SELECT ' [ 1 , 2 ] '::image_embedding;
SELECT '[0.1,0.2,0.30000000000000004,1e-3,65504]'::image_embedding;
SELECT '[1,-0,0]'::image_embedding;
SELECT '[0.5,0.25]@9F3C21AA'::image_embedding;
-- Half precision has eleven bits.
SELECT '[2047,2048,2049,2050,3.14159265]'::image_embedding;
-- What cannot be read, and where.
SELECT ''::image_embedding;
SELECT '[1,2'::image_embedding;
SELECT '[1,,2]'::image_embedding;
SELECT '[1,two]'::image_embedding;
SELECT '[]'::image_embedding;
SELECT '[1,65520]'::image_embedding;
SELECT '[NaN]'::image_embedding;
SELECT '[1,-Infinity]'::image_embedding;
SELECT '[1,2]@9f3c21'::image_embedding;
SELECT '[1,2]@00000000'::image_embedding;
-- Arrays of embeddings, and rows with them.
SELECT '{"[1,2]","[3,4]@0000000b",NULL}'::image_embedding[];
SELECT ROW(1, '[1,2]'::image_embedding);
-- The binary form: dimensions, flags, tag, elements.
SELECT image_embedding_send('[1,-2]@0000002a');
