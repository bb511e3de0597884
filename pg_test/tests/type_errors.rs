//! Everything that is refused: with its SQLSTATE, in words that name the offender, and where it stands.

use pg_test::{Database, Embedding, error_of, server_error};
use postgres::{Client, error::ErrorPosition, types::Type};

/// A statement, and the error that it must end with: its SQLSTATE, and parts of message, detail and hint together.
type Case<'a> = (&'a str, &'a str, &'a [&'a str]);

fn check(session: &mut Client, cases: &[Case<'_>]) {
    for (sql, code, parts) in cases {
        let error = error_of(session, sql);
        let said = format!("{}\n{}\n{}", error.message(), error.detail().unwrap_or(""), error.hint().unwrap_or(""));
        assert_eq!(error.code().code(), *code, "{sql}: {said}");
        for part in *parts {
            assert!(said.contains(part), "{sql} does not say {part:?}:\n{said}");
        }
    }
}

#[test]
fn text_that_is_no_embedding() {
    let mut session = Database::shared("bad_text").connect();
    let over: String = format!("SELECT '[{}1]'::image_embedding", "1,".repeat(16_000));
    let long: String = format!("SELECT '[1,{}]'::image_embedding", "x".repeat(5_000));
    check(
        &mut session,
        &[
            ("SELECT ''::image_embedding", "22P02", &["\"\"", "position 1"]),
            ("SELECT 'embedding'::image_embedding", "22P02", &["\"embedding\"", "position 1"]),
            ("SELECT '[1,2'::image_embedding", "22P02", &["[1,2", "position 5", "end"]),
            ("SELECT '1,2]'::image_embedding", "22P02", &["position 1"]),
            ("SELECT '[1,,2]'::image_embedding", "22P02", &["position 4"]),
            ("SELECT '[1,2,]'::image_embedding", "22P02", &["position 6"]),
            ("SELECT '[,1]'::image_embedding", "22P02", &["position 2"]),
            ("SELECT '[1 2]'::image_embedding", "22P02", &["position 4"]),
            ("SELECT '[[1,2]]'::image_embedding", "22P02", &["position 2"]),
            ("SELECT '[1,two]'::image_embedding", "22P02", &["position 4", "two"]),
            ("SELECT '[1,0x10]'::image_embedding", "22P02", &["position 4"]),
            ("SELECT '[1,1_000]'::image_embedding", "22P02", &["position 4"]),
            ("SELECT '[1,--1]'::image_embedding", "22P02", &["position 4"]),
            ("SELECT '[1,e5]'::image_embedding", "22P02", &["position 4"]),
            ("SELECT '[1,2]x'::image_embedding", "22P02", &["position 6"]),
            ("SELECT '[1,2]@'::image_embedding", "22P02", &["position 7", "eight hexadecimal digits"]),
            ("SELECT '[1,2]@9f3c21a'::image_embedding", "22P02", &["9f3c21a"]),
            ("SELECT '[1,2]@9f3c21aaa'::image_embedding", "22P02", &["9f3c21aaa"]),
            ("SELECT '[1,2]@9f3c21ag'::image_embedding", "22P02", &["9f3c21ag"]),
            ("SELECT '[1,2]@+f3c21aa'::image_embedding", "22P02", &["+f3c21aa"]),
            ("SELECT '[1,2]@00000000'::image_embedding", "22P02", &["00000000"]),
            ("SELECT '[1,2]@9f3c21aa x'::image_embedding", "22P02", &["position 16"]),
            ("SELECT '[é]'::image_embedding", "22P02", &["é", "position 2"]),
            ("SELECT '[１]'::image_embedding", "22P02", &["position 2"]),
            ("SELECT '[]'::image_embedding", "22000", &["at least 1 dimension"]),
            ("SELECT '[ ]'::image_embedding", "22000", &["at least 1 dimension"]),
            ("SELECT '[1,65520]'::image_embedding", "22003", &["65520", "65504", "position 4"]),
            // What would round to a number in range is as much out of it as in an array.
            ("SELECT '[65519]'::image_embedding", "22003", &["65519", "65504"]),
            ("SELECT '[65504.5]'::image_embedding", "22003", &["65504.5"]),
            ("SELECT '[-1e300]'::image_embedding", "22003", &["-1e300", "65504"]),
            ("SELECT '[1e999]'::image_embedding", "22003", &["1e999"]),
            ("SELECT '[NaN]'::image_embedding", "22003", &["NaN"]),
            ("SELECT '[1,-Infinity]'::image_embedding", "22003", &["infinity", "position 4"]),
            ("SELECT '[inf]'::image_embedding", "22003", &["infinity"]),
            (&over, "54000", &["16000"]),
            (&long, "22P02", &["position 4"]),
        ],
    );
    let error = error_of(&mut session, &long);
    assert!(error.message().len() < 500, "a long text is cut in the message: {} bytes", error.message().len());
    // PostgreSQL itself points at the literal.
    let error = error_of(&mut session, "SELECT 'x'::image_embedding");
    assert_eq!(error.position(), Some(&ErrorPosition::Original(8)));
}

#[test]
fn binary_that_is_no_embedding() {
    let mut session = Database::shared("bad_binary").connect();
    session.batch_execute("CREATE TABLE kept (value image_embedding)").unwrap();
    let good = Embedding::of([1.0, 2.0]).to_binary();
    let with = |place: usize, bytes: &[u8]| {
        let mut message = good.clone();
        message[place..place + bytes.len()].copy_from_slice(bytes);
        message
    };
    for (what, message, code) in [
        ("nothing", vec![], "08P01"),
        ("half a header", good[..5].to_vec(), "08P01"),
        ("an element too few", good[..10].to_vec(), "08P01"),
        ("an element too many", [&good[..], &[0, 0]].concat(), "22P03"),
        ("no dimensions", good[..2].iter().map(|_| 0).chain(good[2..8].iter().copied()).collect(), "22000"),
        ("more dimensions than there can be", with(0, &[0xff, 0xff]), "54000"),
        ("unknown flags", with(2, &[0, 1]), "22P03"),
        ("NaN", with(8, &[0x7e, 0x00]), "22003"),
        ("infinity", with(10, &[0xfc, 0x00]), "22003"),
    ] {
        let sink = session.copy_in("COPY kept FROM STDIN (FORMAT binary)").unwrap();
        let error = copy_one(sink, &message).expect_err(what);
        let error = server_error(error, what);
        assert_eq!(error.code().code(), code, "{what}: {}", error.message());
    }
    let sink = session.copy_in("COPY kept FROM STDIN (FORMAT binary)").unwrap();
    copy_one(sink, &good).expect("the good one is taken");
}

/// Sends one row of one field, in COPY's binary format.
fn copy_one(mut sink: postgres::CopyInWriter<'_>, field: &[u8]) -> Result<u64, postgres::Error> {
    let length = i32::try_from(field.len()).unwrap().to_be_bytes();
    let row = [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0" as &[u8], &[0, 1], &length, field, &[0xff, 0xff]].concat();
    std::io::Write::write_all(&mut sink, &row).expect("the message is buffered");
    sink.finish()
}

#[test]
fn arrays_that_are_no_embeddings() {
    let mut session = Database::shared("bad_arrays").connect();
    check(
        &mut session,
        &[
            ("SELECT '{}'::real[]::image_embedding", "22000", &["at least 1 dimension"]),
            ("SELECT '{{1,2},{3,4}}'::real[]::image_embedding", "22000", &["one-dimensional"]),
            ("SELECT '{1,NULL,3}'::real[]::image_embedding", "22004", &["null"]),
            ("SELECT '{1,NULL,3}'::float8[]::image_embedding", "22004", &["null"]),
            ("SELECT '{1,NULL,3}'::int[]::image_embedding", "22004", &["null"]),
            ("SELECT '{1,NULL,3}'::numeric[]::image_embedding", "22004", &["null"]),
            ("SELECT '{1,NaN}'::real[]::image_embedding", "22003", &["NaN", "element 2"]),
            ("SELECT '{1,NaN}'::numeric[]::image_embedding", "22003", &["NaN", "element 2"]),
            ("SELECT '{-Infinity}'::float8[]::image_embedding", "22003", &["infinity", "element 1"]),
            ("SELECT '{1,2,65520}'::int[]::image_embedding", "22003", &["65520", "element 3", "65504"]),
            ("SELECT '{1e38}'::real[]::image_embedding", "22003", &["element 1", "65504"]),
            ("SELECT '{1e999}'::numeric[]::image_embedding", "22003", &["element 1"]),
            ("SELECT array_fill(1::real, ARRAY[16001])::image_embedding", "54000", &["16000"]),
            ("SELECT '{1,2}'::text[]::image_embedding", "42846", &["text[]"]),
            ("SELECT '{t,f}'::bool[]::image_embedding", "42846", &["boolean[]"]),
        ],
    );
}

#[test]
fn type_modifiers() {
    let mut session = Database::shared("typmods").connect();
    session
        .batch_execute("CREATE TABLE three (value image_embedding(3)); INSERT INTO three VALUES ('[1,2,3]')")
        .unwrap();
    check(
        &mut session,
        &[
            ("CREATE TABLE t (v image_embedding(0))", "22023", &["at least 1"]),
            ("CREATE TABLE t (v image_embedding(-1))", "22023", &["at least 1"]),
            ("CREATE TABLE t (v image_embedding(16001))", "22023", &["16000"]),
            ("CREATE TABLE t (v image_embedding(99999999999))", "22023", &["16000"]),
            ("CREATE TABLE t (v image_embedding(3, 4))", "22023", &["image_embedding(384)"]),
            ("CREATE TABLE t (v image_embedding('x'))", "22023", &["\"x\"", "image_embedding(384)"]),
            ("SELECT '[1,2]'::image_embedding(3)", "22000", &["3", "2"]),
            ("INSERT INTO three VALUES ('[1,2]')", "22000", &["3", "2"]),
            ("INSERT INTO three VALUES (ARRAY[1, 2])", "22000", &["3", "2"]),
            ("INSERT INTO three SELECT '[1,2,3,4]'::image_embedding", "22000", &["3", "4"]),
            ("UPDATE three SET value = value::real[] || 4::real", "22000", &["3", "4"]),
            ("ALTER TABLE three ALTER value TYPE image_embedding(2)", "22000", &["2", "3"]),
            ("SELECT '[1,2]'::image_embedding::image_embedding(3)", "22000", &["3", "2"]),
        ],
    );
    let column: String = session
        .query_one("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'three'::regclass AND attnum = 1", &[])
        .unwrap()
        .get(0);
    assert_eq!(column, "image_embedding(3)");
    session
        .batch_execute("ALTER TABLE three ALTER value TYPE image_embedding; INSERT INTO three VALUES ('[1]')")
        .unwrap();
    // The binary form is held against the modifier as well.
    session.batch_execute("CREATE TABLE two (value image_embedding(2))").unwrap();
    let sink = session.copy_in("COPY two FROM STDIN (FORMAT binary)").unwrap();
    let error = server_error(copy_one(sink, &Embedding::of([1.0]).to_binary()).expect_err("one is not two"), "COPY");
    assert_eq!(error.code().code(), "22000", "{}", error.message());
}

#[test]
fn what_does_not_belong_together() {
    let mut session = Database::shared("mixing").connect();
    for operator in ["<->", "<=>", "<#>", "<+>", "+", "-", "*"] {
        let dims = format!("SELECT '[1,2]'::image_embedding {operator} '[1,2,3]'");
        let tags = format!("SELECT '[1,2]@0000000a'::image_embedding {operator} '[1,2]@9f3c21aa'");
        let with_untagged = format!("SELECT '[1,2]@0000000a'::image_embedding {operator} '[1,2]'");
        check(&mut session, &[(&dims, "22000", &["2", "3"]), (&tags, "22000", &["0000000a", "9f3c21aa", "model"])]);
        session.batch_execute(&with_untagged).unwrap_or_else(|e| panic!("{with_untagged}: {e}"));
    }
    for aggregate in ["avg", "sum"] {
        let over = |values: &str| format!("SELECT {aggregate}(v::image_embedding) FROM (VALUES {values}) t (v)");
        check(
            &mut session,
            &[
                (&over("('[1,2]'), ('[1,2,3]')"), "22000", &["2", "3"]),
                (&over("('[1,2]@0000000a'), ('[1,2]'), ('[1,2]@9f3c21aa')"), "22000", &["0000000a", "9f3c21aa"]),
            ],
        );
    }
    check(
        &mut session,
        &[
            ("SELECT '[60000]'::image_embedding + '[60000]'", "22003", &["element 1", "65504"]),
            ("SELECT '[1,-60000]'::image_embedding - '[1,60000]'", "22003", &["element 2"]),
            ("SELECT '[1,2,300]'::image_embedding * '[1,2,300]'", "22003", &["element 3"]),
            ("SELECT '[2]'::image_embedding * 1e300", "22003", &["element 1"]),
            ("SELECT 'NaN'::float8 * '[2]'::image_embedding", "22003", &["NaN"]),
            ("SELECT '[2]'::image_embedding * 'Infinity'::float8", "22003", &["infinity"]),
        ],
    );
}

#[test]
fn internal_functions_cannot_be_misused() {
    let database = Database::shared("internals");
    let _watch = database.watch();
    let mut session = database.connect();
    for sql in [
        "SELECT image_embedding_in('[1]', 0, -1)",
        "SELECT image_embedding_recv(NULL, 0, -1)",
        "SELECT image_embedding_accum(NULL, '[1]')",
        "SELECT image_embedding_combine(NULL, NULL)",
        "SELECT image_embedding_serialize(NULL)",
        "SELECT image_embedding_deserialize('\\x', NULL)",
        "SELECT image_embedding_deserialize('\\x00000000000000000000000000000000', NULL)",
        "SELECT image_embedding_avg_final(NULL)",
        "SELECT image_embedding_sum_final(NULL)",
        "SELECT image_embedding_typmod_in('{}')",
        "SELECT image_embedding_typmod_in('{3,NULL}')",
        "SELECT image_embedding_typmod_in('{3}')",
    ] {
        // An answer or an error; what matters is that the session goes on.
        let _ = session.batch_execute(sql);
        assert_eq!(session.query_one("SELECT 1", &[]).unwrap().get::<_, i32>(0), 1, "{sql}");
    }
    let _: Type = session.prepare("SELECT '[1]'::image_embedding").unwrap().columns()[0].type_().clone();
}

#[test]
fn vectors_that_half_precision_would_make_zero() {
    let mut session = Database::shared("bad_tiny").connect();
    let too_small = "Every element would be rounded to 0";
    check(
        &mut session,
        &[
            (
                "SELECT '[0,1e-9,2e-9]'::image_embedding",
                "22003",
                &["\"1e-9\" is out of range", too_small, "by a constant"],
            ),
            ("SELECT '[-0.00000001]'::image_embedding", "22003", &["\"-0.00000001\"", too_small]),
            ("SELECT '[1e-999]'::image_embedding", "22003", &["\"1e-999\"", too_small]),
            ("SELECT array_fill(1e-9::real, ARRAY[64])::image_embedding", "22003", &["\"1e-9\"", too_small]),
            ("SELECT ARRAY[0, 2.9e-8::float8]::image_embedding", "22003", &["\"2.9e-8\"", too_small]),
            ("SELECT ARRAY[1e-300::numeric]::image_embedding", "22003", &["\"1e-300\"", too_small]),
            ("SELECT '[0.5,0]'::image_embedding * 1e-9", "22003", &["\"5e-10\"", too_small]),
        ],
    );
    // Small elements among others are digits like any; what is zero stays so; what is computed may become it.
    for (sql, text) in [
        ("'[1,1e-9]'::image_embedding", "[1,0]"),
        ("'[6e-8,0]'::image_embedding", "[0.00000006,0]"),
        ("'[0,-0,0e5,0.0E-9]'::image_embedding", "[0,-0,0,0]"),
        ("ARRAY[0.0, 0]::image_embedding", "[0,0]"),
        ("'[0.5]'::image_embedding * 0", "[0]"),
        ("'[0,0]'::image_embedding * 1e-9", "[0,0]"),
        ("'[6e-8]'::image_embedding * '[0.1]'", "[0]"),
        ("(SELECT avg(e) FROM (VALUES ('[6e-8]'::image_embedding), ('[0]'), ('[0]')) v (e))", "[0]"),
        ("l2_normalize('[6e-8,6e-8]')", "[0.707,0.707]"),
    ] {
        let found: String = session.query_one(&format!("SELECT ({sql})::text"), &[]).unwrap().get(0);
        assert_eq!(found, text, "{sql}");
    }
}
