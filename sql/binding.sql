-- What drivers send for a vector: a list of numbers as an array of whatever type they think it has, a string as text. A
-- parameter without a type and a quoted literal become an image_embedding by themselves; these operators take the rest.
--
-- They are written in SQL, so that the planner puts the operator on two embeddings in their place, which an index knows.
-- The names of the functions differ from those behind that operator, so that a call of those with quoted literals is not
-- ambiguous. Arrays are polymorphic, since an argument that fits exactly would take precedence over what others define
-- for arrays, and a quoted literal beside an array would become an embedding. For that reason, too, comparisons take no
-- arrays, for which PostgreSQL has its own, and nothing but a distance takes a text. Neither would be of use: an array
-- has no model tag, and so is unequal to every embedding that has one.

DO $$
DECLARE
    operator record;
    operand record;
BEGIN
    FOR operator IN VALUES
        ('<->', 'image_embedding_l2', 'double precision', 'Euclidean (L2) distance', '<->'),
        ('<=>', 'image_embedding_cosine', 'double precision', 'cosine distance', '<=>'),
        ('<#>', 'image_embedding_ip', 'double precision', 'negative inner product', '<#>'),
        ('<+>', 'image_embedding_l1', 'double precision', 'taxicab (L1) distance', '<+>'),
        ('+', 'image_embedding_sum', 'image_embedding', 'element-wise sum', '+'),
        ('-', 'image_embedding_difference', 'image_embedding', 'element-wise difference', NULL),
        ('*', 'image_embedding_product', 'image_embedding', 'element-wise product', '*')
    LOOP
        FOR operand IN VALUES
            ('image_embedding', 'anyarray', '$1', '$2::@extschema@.image_embedding'),
            ('anyarray', 'image_embedding', '$1::@extschema@.image_embedding', '$2'),
            ('image_embedding', 'text', '$1', '$2::@extschema@.image_embedding'),
            ('text', 'image_embedding', '$1::@extschema@.image_embedding', '$2')
        LOOP
            CONTINUE WHEN 'text' IN (operand.column1, operand.column2) AND operator.column1 IN ('+', '-', '*');
            EXECUTE format(
                'CREATE FUNCTION @extschema@.%1$I(%2$s, %3$s) RETURNS %4$s LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10
                     AS %5$L',
                operator.column2, operand.column1, operand.column2, operator.column3,
                format('SELECT %s OPERATOR(@extschema@.%s) %s', operand.column3, operator.column1, operand.column4));
            EXECUTE format('COMMENT ON FUNCTION @extschema@.%I(%s, %s) IS %L',
                operator.column2, operand.column1, operand.column2, 'implementation of ' || operator.column1 || ' operator');
            EXECUTE format('CREATE OPERATOR @extschema@.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = @extschema@.%I%s)',
                operator.column1, operand.column1, operand.column2, operator.column2,
                ', COMMUTATOR = ' || operator.column5);
            EXECUTE format('COMMENT ON OPERATOR @extschema@.%s (%s, %s) IS %L',
                operator.column1, operand.column1, operand.column2, operator.column4);
        END LOOP;
    END LOOP;
END
$$;
