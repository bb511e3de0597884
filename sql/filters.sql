-- Operator classes of vs_hnsw for the columns after the first, by which rows are filtered.
--
-- Strategies 1 to 5 are those of a B-tree (< <= = >= >); arrays have 6 (&&) and 7 (@>).

CREATE OPERATOR FAMILY integer_ops USING vs_hnsw;
CREATE OPERATOR CLASS int2_ops DEFAULT FOR TYPE int2 USING vs_hnsw FAMILY integer_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR CLASS int4_ops DEFAULT FOR TYPE int4 USING vs_hnsw FAMILY integer_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR CLASS int8_ops DEFAULT FOR TYPE int8 USING vs_hnsw FAMILY integer_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
ALTER OPERATOR FAMILY integer_ops USING vs_hnsw ADD
    OPERATOR 1 < (int2, int4),
    OPERATOR 2 <= (int2, int4),
    OPERATOR 3 = (int2, int4),
    OPERATOR 4 >= (int2, int4),
    OPERATOR 5 > (int2, int4);
ALTER OPERATOR FAMILY integer_ops USING vs_hnsw ADD
    OPERATOR 1 < (int2, int8),
    OPERATOR 2 <= (int2, int8),
    OPERATOR 3 = (int2, int8),
    OPERATOR 4 >= (int2, int8),
    OPERATOR 5 > (int2, int8);
ALTER OPERATOR FAMILY integer_ops USING vs_hnsw ADD
    OPERATOR 1 < (int4, int2),
    OPERATOR 2 <= (int4, int2),
    OPERATOR 3 = (int4, int2),
    OPERATOR 4 >= (int4, int2),
    OPERATOR 5 > (int4, int2);
ALTER OPERATOR FAMILY integer_ops USING vs_hnsw ADD
    OPERATOR 1 < (int4, int8),
    OPERATOR 2 <= (int4, int8),
    OPERATOR 3 = (int4, int8),
    OPERATOR 4 >= (int4, int8),
    OPERATOR 5 > (int4, int8);
ALTER OPERATOR FAMILY integer_ops USING vs_hnsw ADD
    OPERATOR 1 < (int8, int2),
    OPERATOR 2 <= (int8, int2),
    OPERATOR 3 = (int8, int2),
    OPERATOR 4 >= (int8, int2),
    OPERATOR 5 > (int8, int2);
ALTER OPERATOR FAMILY integer_ops USING vs_hnsw ADD
    OPERATOR 1 < (int8, int4),
    OPERATOR 2 <= (int8, int4),
    OPERATOR 3 = (int8, int4),
    OPERATOR 4 >= (int8, int4),
    OPERATOR 5 > (int8, int4);
CREATE OPERATOR FAMILY float_ops USING vs_hnsw;
CREATE OPERATOR CLASS float4_ops DEFAULT FOR TYPE float4 USING vs_hnsw FAMILY float_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR CLASS float8_ops DEFAULT FOR TYPE float8 USING vs_hnsw FAMILY float_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
ALTER OPERATOR FAMILY float_ops USING vs_hnsw ADD
    OPERATOR 1 < (float4, float8),
    OPERATOR 2 <= (float4, float8),
    OPERATOR 3 = (float4, float8),
    OPERATOR 4 >= (float4, float8),
    OPERATOR 5 > (float4, float8);
ALTER OPERATOR FAMILY float_ops USING vs_hnsw ADD
    OPERATOR 1 < (float8, float4),
    OPERATOR 2 <= (float8, float4),
    OPERATOR 3 = (float8, float4),
    OPERATOR 4 >= (float8, float4),
    OPERATOR 5 > (float8, float4);
CREATE OPERATOR FAMILY datetime_ops USING vs_hnsw;
CREATE OPERATOR CLASS date_ops DEFAULT FOR TYPE date USING vs_hnsw FAMILY datetime_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR CLASS timestamp_ops DEFAULT FOR TYPE timestamp USING vs_hnsw FAMILY datetime_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR CLASS timestamptz_ops DEFAULT FOR TYPE timestamptz USING vs_hnsw FAMILY datetime_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
ALTER OPERATOR FAMILY datetime_ops USING vs_hnsw ADD
    OPERATOR 1 < (date, timestamp),
    OPERATOR 2 <= (date, timestamp),
    OPERATOR 3 = (date, timestamp),
    OPERATOR 4 >= (date, timestamp),
    OPERATOR 5 > (date, timestamp);
ALTER OPERATOR FAMILY datetime_ops USING vs_hnsw ADD
    OPERATOR 1 < (date, timestamptz),
    OPERATOR 2 <= (date, timestamptz),
    OPERATOR 3 = (date, timestamptz),
    OPERATOR 4 >= (date, timestamptz),
    OPERATOR 5 > (date, timestamptz);
ALTER OPERATOR FAMILY datetime_ops USING vs_hnsw ADD
    OPERATOR 1 < (timestamp, date),
    OPERATOR 2 <= (timestamp, date),
    OPERATOR 3 = (timestamp, date),
    OPERATOR 4 >= (timestamp, date),
    OPERATOR 5 > (timestamp, date);
ALTER OPERATOR FAMILY datetime_ops USING vs_hnsw ADD
    OPERATOR 1 < (timestamp, timestamptz),
    OPERATOR 2 <= (timestamp, timestamptz),
    OPERATOR 3 = (timestamp, timestamptz),
    OPERATOR 4 >= (timestamp, timestamptz),
    OPERATOR 5 > (timestamp, timestamptz);
ALTER OPERATOR FAMILY datetime_ops USING vs_hnsw ADD
    OPERATOR 1 < (timestamptz, date),
    OPERATOR 2 <= (timestamptz, date),
    OPERATOR 3 = (timestamptz, date),
    OPERATOR 4 >= (timestamptz, date),
    OPERATOR 5 > (timestamptz, date);
ALTER OPERATOR FAMILY datetime_ops USING vs_hnsw ADD
    OPERATOR 1 < (timestamptz, timestamp),
    OPERATOR 2 <= (timestamptz, timestamp),
    OPERATOR 3 = (timestamptz, timestamp),
    OPERATOR 4 >= (timestamptz, timestamp),
    OPERATOR 5 > (timestamptz, timestamp);
CREATE OPERATOR FAMILY bool_ops USING vs_hnsw;
CREATE OPERATOR CLASS bool_ops DEFAULT FOR TYPE bool USING vs_hnsw FAMILY bool_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR FAMILY numeric_ops USING vs_hnsw;
CREATE OPERATOR CLASS numeric_ops DEFAULT FOR TYPE numeric USING vs_hnsw FAMILY numeric_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR FAMILY time_ops USING vs_hnsw;
CREATE OPERATOR CLASS time_ops DEFAULT FOR TYPE time USING vs_hnsw FAMILY time_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR FAMILY uuid_ops USING vs_hnsw;
CREATE OPERATOR CLASS uuid_ops DEFAULT FOR TYPE uuid USING vs_hnsw FAMILY uuid_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR FAMILY oid_ops USING vs_hnsw;
CREATE OPERATOR CLASS oid_ops DEFAULT FOR TYPE oid USING vs_hnsw FAMILY oid_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR FAMILY enum_ops USING vs_hnsw;
CREATE OPERATOR CLASS enum_ops DEFAULT FOR TYPE anyenum USING vs_hnsw FAMILY enum_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >;
CREATE OPERATOR FAMILY text_ops USING vs_hnsw;
CREATE OPERATOR CLASS text_ops DEFAULT FOR TYPE text USING vs_hnsw FAMILY text_ops AS
    OPERATOR 3 =;
CREATE OPERATOR FAMILY bpchar_ops USING vs_hnsw;
CREATE OPERATOR CLASS bpchar_ops DEFAULT FOR TYPE bpchar USING vs_hnsw FAMILY bpchar_ops AS
    OPERATOR 3 =;
CREATE OPERATOR FAMILY array_ops USING vs_hnsw;
CREATE OPERATOR CLASS array_ops DEFAULT FOR TYPE anyarray USING vs_hnsw FAMILY array_ops AS
    OPERATOR 6 &&,
    OPERATOR 7 @>;

COMMENT ON OPERATOR FAMILY integer_ops USING vs_hnsw IS 'filtering by integers';
COMMENT ON OPERATOR FAMILY float_ops USING vs_hnsw IS 'filtering by floating-point numbers';
COMMENT ON OPERATOR FAMILY datetime_ops USING vs_hnsw IS 'filtering by dates and times';
COMMENT ON OPERATOR FAMILY bool_ops USING vs_hnsw IS 'filtering by booleans';
COMMENT ON OPERATOR FAMILY numeric_ops USING vs_hnsw IS 'filtering by numbers; rows are looked at again';
COMMENT ON OPERATOR FAMILY time_ops USING vs_hnsw IS 'filtering by times of day';
COMMENT ON OPERATOR FAMILY uuid_ops USING vs_hnsw IS 'filtering by UUIDs; rows are looked at again';
COMMENT ON OPERATOR FAMILY oid_ops USING vs_hnsw IS 'filtering by OIDs';
COMMENT ON OPERATOR FAMILY enum_ops USING vs_hnsw IS 'filtering by enums';
COMMENT ON OPERATOR FAMILY text_ops USING vs_hnsw IS 'filtering by equal texts; rows are looked at again';
COMMENT ON OPERATOR FAMILY bpchar_ops USING vs_hnsw IS 'filtering by equal texts; rows are looked at again';
COMMENT ON OPERATOR FAMILY array_ops USING vs_hnsw IS 'filtering by elements of arrays; rows are looked at again';
COMMENT ON OPERATOR CLASS int2_ops USING vs_hnsw IS 'filtering by integers';
COMMENT ON OPERATOR CLASS int4_ops USING vs_hnsw IS 'filtering by integers';
COMMENT ON OPERATOR CLASS int8_ops USING vs_hnsw IS 'filtering by integers';
COMMENT ON OPERATOR CLASS float4_ops USING vs_hnsw IS 'filtering by floating-point numbers';
COMMENT ON OPERATOR CLASS float8_ops USING vs_hnsw IS 'filtering by floating-point numbers';
COMMENT ON OPERATOR CLASS date_ops USING vs_hnsw IS 'filtering by dates and times';
COMMENT ON OPERATOR CLASS timestamp_ops USING vs_hnsw IS 'filtering by dates and times';
COMMENT ON OPERATOR CLASS timestamptz_ops USING vs_hnsw IS 'filtering by dates and times';
COMMENT ON OPERATOR CLASS bool_ops USING vs_hnsw IS 'filtering by booleans';
COMMENT ON OPERATOR CLASS numeric_ops USING vs_hnsw IS 'filtering by numbers; rows are looked at again';
COMMENT ON OPERATOR CLASS time_ops USING vs_hnsw IS 'filtering by times of day';
COMMENT ON OPERATOR CLASS uuid_ops USING vs_hnsw IS 'filtering by UUIDs; rows are looked at again';
COMMENT ON OPERATOR CLASS oid_ops USING vs_hnsw IS 'filtering by OIDs';
COMMENT ON OPERATOR CLASS enum_ops USING vs_hnsw IS 'filtering by enums';
COMMENT ON OPERATOR CLASS text_ops USING vs_hnsw IS 'filtering by equal texts; rows are looked at again';
COMMENT ON OPERATOR CLASS bpchar_ops USING vs_hnsw IS 'filtering by equal texts; rows are looked at again';
COMMENT ON OPERATOR CLASS array_ops USING vs_hnsw IS 'filtering by elements of arrays; rows are looked at again';
