-- Distances are double precision.
SELECT '[1,2]'::image_embedding <-> '[4,6]' AS l2, '[1,2]'::image_embedding <#> '[3,4]' AS negative_inner_product,
       '[1,2]'::image_embedding <+> '[4,6]' AS l1;
SELECT round(('[1,0]'::image_embedding <=> '[1,1]')::numeric, 6) AS cosine;
SELECT '[1,0]'::image_embedding <=> '[2,0]' AS same, '[1,0]'::image_embedding <=> '[0,3]' AS square,
       '[1,0]'::image_embedding <=> '[-5,0]' AS opposite, '[0,0]'::image_embedding <=> '[1,0]' AS none;
SELECT pg_typeof('[1]'::image_embedding <-> '[1]');
SELECT l2_distance('[1,2]', '[4,6]'), inner_product('[1,2]', '[3,4]'), l1_distance('[1,2]', '[4,6]');
SELECT embedding_dims('[1,2,3]'), embedding_norm('[3,4]'), embedding_model('[1]@9f3c21aa'), embedding_model('[1]');
SELECT l2_normalize('[3,4]'), l2_normalize('[0,0]'), l2_normalize('[3,4]@9f3c21aa');
-- Arithmetic
SELECT '[1,2]'::image_embedding + '[10,20]' AS plus, '[1,2]'::image_embedding - '[10,20]' AS minus,
       '[1,2]'::image_embedding * '[10,20]' AS product, '[1,2]'::image_embedding * 2.5 AS scaled, 2.5 * '[1,2]'::image_embedding AS scaled_too;
SELECT '[65504]'::image_embedding + '[65504]';
SELECT '[1,2]'::image_embedding * 1e6;
-- NULL
SELECT '[1,2]'::image_embedding <-> NULL AS distance, NULL::image_embedding + '[1]' AS plus;
-- What does not belong together
SELECT '[1,2]'::image_embedding <-> '[1,2,3]';
SELECT '[1,2]@0000000a'::image_embedding <-> '[1,2]@9f3c21aa';
SELECT '[1,2]@0000000a'::image_embedding + '[1,2]@9f3c21aa';
SELECT '[1,2]@0000000a'::image_embedding <-> '[1,2]' AS untagged_goes_with_any;
