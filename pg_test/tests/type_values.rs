//! Values of type `image_embedding` go in and out unchanged, and functions of them agree with plain arithmetic.

use std::collections::BTreeMap;

use half::f16;
use pg_test::{Database, Embedding, describe};
use postgres::{Client, types::ToSql};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// The same cases in every run.
fn cases(count: u32) -> TestRunner {
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

/// Any finite number of half precision, with extra weight on the small whole numbers and the edges.
fn element() -> impl Strategy<Value = f16> {
    prop_oneof![
        4 => any::<u16>().prop_map(f16::from_bits).prop_filter("finite", |number| number.is_finite()),
        2 => (-100i8..=100).prop_map(f16::from),
        1 => prop_oneof![Just(f16::MAX), Just(f16::MIN), Just(f16::MIN_POSITIVE_SUBNORMAL), Just(f16::NEG_ZERO), Just(f16::ZERO)],
    ]
}

/// Numbers whose products and sums stay finite in half precision.
fn moderate() -> impl Strategy<Value = f16> {
    (-200.0..200.0f64).prop_map(f16::from_f64)
}

/// An embedding of 1 to 40 elements, tagged or not.
fn embedding() -> impl Strategy<Value = Embedding> {
    let tag = prop_oneof![Just(0u32), any::<u32>()];
    (prop::collection::vec(element(), 1..40), tag).prop_map(|(elements, tag)| Embedding { elements, tag })
}

/// Two embeddings of the same dimensions.
fn pair() -> impl Strategy<Value = (Embedding, Embedding)> {
    (1usize..70).prop_flat_map(|dims| {
        let side = || prop::collection::vec(moderate(), dims);
        (side(), side()).prop_map(|(a, b)| (Embedding { elements: a, tag: 0 }, Embedding { elements: b, tag: 0 }))
    })
}

fn query<T: for<'a> postgres::types::FromSql<'a>>(
    session: &mut Client,
    sql: &str,
    arguments: &[&(dyn ToSql + Sync)],
) -> T {
    session.query_one(sql, arguments).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e))).get(0)
}

fn same(a: &Embedding, b: &Embedding) -> bool {
    a.tag == b.tag && a.bits() == b.bits()
}

#[test]
fn every_finite_number_survives_text_and_binary() {
    let mut session = Database::shared("all_numbers").connect();
    let finite: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|number| number.is_finite()).collect();
    assert_eq!(finite.len(), 63_488);
    for part in finite.chunks(16_000) {
        let value = Embedding { elements: part.to_vec(), tag: 0xdead_beef };
        let (there, text): (Embedding, String) = {
            let row = session.query_one("SELECT $1::image_embedding, $1::image_embedding::text", &[&value]).unwrap();
            (row.get(0), row.get(1))
        };
        assert!(same(&value, &there), "binary");
        let back: Embedding = query(&mut session, "SELECT $1::text::image_embedding", &[&text]);
        assert!(same(&value, &back), "text: {}", &text[..200]);
        let in_full: Embedding = query(&mut session, "SELECT $1::text::image_embedding", &[&value.to_text()]);
        assert!(same(&value, &in_full), "text with every digit");
        check_shortest(part, &text);
    }
}

/// Every element's text is one of the shortest decimals that read back as the element.
fn check_shortest(elements: &[f16], text: &str) {
    let inner = text.trim_start_matches('[').split(']').next().unwrap();
    let written: Vec<&str> = inner.split(',').collect();
    assert_eq!(written.len(), elements.len());
    for (element, written) in elements.iter().zip(written) {
        assert_eq!(f16::from_f64(written.parse().unwrap()).to_bits(), element.to_bits(), "{written}");
        let digits = |text: &str| {
            let mantissa = text.split('e').next().unwrap().replace(['-', '.'], "");
            mantissa.trim_start_matches('0').trim_end_matches('0').len()
        };
        let used = digits(written);
        if used > 1 {
            let shorter = format!("{:.*e}", used - 2, element.to_f64());
            let shorter_reads_back = f16::from_f64(shorter.parse().unwrap()) == *element;
            assert!(!shorter_reads_back, "{written} could be {shorter}");
        }
    }
}

#[test]
fn generated_values_survive_text_binary_and_a_table() {
    let mut session = Database::shared("generated_values").connect();
    session.batch_execute("CREATE TABLE kept (value image_embedding)").unwrap();
    let text = session.prepare("SELECT $1::image_embedding::text::image_embedding").unwrap();
    let stored = session.prepare("INSERT INTO kept VALUES ($1) RETURNING value").unwrap();
    let session = std::cell::RefCell::new(session);
    cases(2000)
        .run(&embedding(), |value| {
            let mut session = session.borrow_mut();
            for statement in [&text, &stored] {
                let back: Embedding = session.query_one(statement, &[&value]).unwrap().get(0);
                prop_assert!(same(&value, &back), "{value:?} came back as {back:?}");
            }
            Ok(())
        })
        .unwrap();
    let mut session = session.into_inner();
    let rows: i64 = query(&mut session, "SELECT count(*) FROM kept WHERE value::text::image_embedding = value", &[]);
    assert_eq!(rows, 2000);
}

#[test]
fn text_is_read_leniently_and_written_in_one_way() {
    let mut session = Database::shared("text_forms").connect();
    for (written, expected) in [
        ("[1]", "[1]"),
        (" [ 1 , 2\t,\n3 ] ", "[1,2,3]"),
        ("[+1,-1,.5,5.]", "[1,-1,0.5,5]"),
        ("[1e2,1E-2,-1.5e+1]", "[100,0.01,-15]"),
        ("[0,-0,0.0,-0.0]", "[0,-0,0,-0]"),
        // The largest number there is, for which fewer digits will do.
        ("[65504,-65504]", "[65500,-65500]"),
        // The smallest number, and one that rounds to nothing.
        ("[5.9604645e-8,2e-8]", "[0.00000006,0]"),
        ("[0.1,0.3333333333333333333333333333333333333333333333333]", "[0.1,0.3333]"),
        ("[2049]", "[2048]"),
        ("[1,2]@9f3c21aa", "[1,2]@9f3c21aa"),
        ("[1,2]@9F3C21AA ", "[1,2]@9f3c21aa"),
        ("[1,2]@00000001", "[1,2]@00000001"),
    ] {
        let text: String = query(&mut session, "SELECT $1::text::image_embedding::text", &[&written]);
        assert_eq!(text, expected, "{written:?}");
    }
}

#[test]
fn values_are_stored_short_plain_and_out_of_line() {
    let mut session = Database::shared("storage_forms").connect();
    session.batch_execute("CREATE TABLE kept (id int, value image_embedding)").unwrap();
    // 1-byte headers up to about 57 dimensions, inline up to about 1,000, out of line above, and the largest.
    let sizes = [1, 2, 3, 7, 57, 58, 59, 60, 384, 900, 1100, 4096, 16_000];
    let mut expected = BTreeMap::new();
    for (id, dims) in sizes.into_iter().enumerate() {
        let value =
            Embedding::of((0..dims).map(|place| f64::from((place * 31 + id as i32) % 97) / 8.0)).tagged(id as u32);
        session.execute("INSERT INTO kept VALUES ($1, $2)", &[&(id as i32), &value]).unwrap();
        expected.insert(id as i32, value);
    }
    let out_of_line: bool = query(
        &mut session,
        "SELECT pg_relation_size(reltoastrelid) > 40000 FROM pg_class WHERE oid = 'kept'::regclass",
        &[],
    );
    assert!(out_of_line, "the large values lie out of line");
    let compressed: i64 =
        query(&mut session, "SELECT count(*) FROM kept WHERE pg_column_compression(value) IS NOT NULL", &[]);
    assert_eq!(compressed, 0, "half precision does not compress, so it is not tried");
    for (id, value) in &expected {
        let row = session
            .query_one(
                "SELECT value, embedding_dims(value), embedding_norm(value), value <-> value, value = value,
                        pg_column_size(value), embedding_model(value) FROM kept WHERE id = $1",
                &[id],
            )
            .unwrap();
        let dims = value.elements.len();
        assert!(same(value, &row.get(0)), "{dims} dimensions");
        assert_eq!(row.get::<_, i32>(1), dims as i32);
        assert!((row.get::<_, f64>(2) - value.norm()).abs() <= 1e-9 * value.norm(), "{dims} dimensions");
        assert_eq!((row.get::<_, f64>(3), row.get::<_, bool>(4)), (0.0, true), "{dims} dimensions");
        // Short values have a header of one byte, others one of four.
        let header = if 8 + 2 * dims <= 126 { 1 } else { 4 };
        let inline = 8 + 2 * dims + header;
        if dims < 900 {
            assert_eq!(row.get::<_, i32>(5), inline as i32, "{dims} dimensions");
        }
        let tag = (value.tag != 0).then(|| format!("{:08x}", value.tag));
        assert_eq!(row.get::<_, Option<String>>(6), tag);
    }
    session.batch_execute("VACUUM FULL kept").unwrap();
    session.batch_execute("UPDATE kept SET id = id").unwrap();
    for (id, value) in &expected {
        let back: Embedding = query(&mut session, "SELECT value FROM kept WHERE id = $1", &[id]);
        assert!(same(value, &back), "{} dimensions, rewritten", value.elements.len());
    }
}

#[test]
fn binary_copy_carries_every_bit() {
    let mut session = Database::shared("binary_copy").connect();
    session
        .batch_execute("CREATE TABLE source (id int, value image_embedding); CREATE TABLE target (LIKE source)")
        .unwrap();
    let strategy = embedding();
    let mut runner = cases(300);
    for id in 0..300 {
        let value = strategy.new_tree(&mut runner).unwrap().current();
        session.execute("INSERT INTO source VALUES ($1, $2)", &[&id, &value]).unwrap();
    }
    for format in ["binary", "text", "csv"] {
        let mut bytes = Vec::new();
        let sql = format!("COPY (SELECT * FROM source ORDER BY id) TO STDOUT (FORMAT {format})");
        std::io::Read::read_to_end(&mut session.copy_out(&sql).unwrap(), &mut bytes).unwrap();
        session.batch_execute("TRUNCATE target").unwrap();
        let mut sink = session.copy_in(&format!("COPY target FROM STDIN (FORMAT {format})")).unwrap();
        std::io::Write::write_all(&mut sink, &bytes).unwrap();
        sink.finish().unwrap();
        let differing: i64 = query(
            &mut session,
            "SELECT count(*) FROM source s FULL JOIN target t USING (id)
             WHERE image_embedding_send(s.value) IS DISTINCT FROM image_embedding_send(t.value)",
            &[],
        );
        assert_eq!(differing, 0, "{format}");
    }
}

#[test]
fn arrays_convert_exactly_where_they_can() {
    let mut session = Database::shared("array_casts").connect();
    let convert = session.prepare("SELECT $1::real[]::image_embedding::real[]").unwrap();
    let from_double = session.prepare("SELECT $1::float8[]::image_embedding").unwrap();
    let session = std::cell::RefCell::new(session);
    cases(500)
        .run(&prop::collection::vec(element(), 1..50), |elements| {
            let mut session = session.borrow_mut();
            let single: Vec<f32> = elements.iter().map(|element| element.to_f32()).collect();
            let back: Vec<f32> = session.query_one(&convert, &[&single]).unwrap().get(0);
            let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&single), bits(&back));
            Ok(())
        })
        .unwrap();
    // A text is the same number as a double: rounded once, so that what is just above a tie does not fall below it.
    let from_text = session.borrow_mut().prepare("SELECT ('[1,' || $1::float8 || ']')::image_embedding").unwrap();
    for number in [1.000_488_281_250_909_5, -1.000_488_281_250_909_5, 1.000_488_281_25, 65_504.0, 2.98e-8, 2.99e-8] {
        let mut session = session.borrow_mut();
        let read: Embedding = session.query_one(&from_text, &[&number]).unwrap().get(0);
        let made: Embedding = session.query_one(&from_double, &[&vec![1.0, number]]).unwrap().get(0);
        assert!(same(&read, &made), "{number}");
    }
    // Doubles that are no half-precision numbers go to the nearest one, ties to even.
    cases(500)
        .run(&prop::collection::vec(-65_000.0..65_000.0f64, 1..50), |numbers| {
            let made: Embedding = session.borrow_mut().query_one(&from_double, &[&numbers]).unwrap().get(0);
            prop_assert!(same(&made, &Embedding::of(numbers.iter().copied())));
            Ok(())
        })
        .unwrap();
    let mut session = session.into_inner();
    for (sql, expected) in [
        ("ARRAY[1, -2, 3]", "[1,-2,3]"),
        ("ARRAY[1.5, 2.25, 1e-3]::numeric[]", "[1.5,2.25,0.001]"),
        ("ARRAY[2047]::numeric[]", "[2047]"),
        ("'[5:7]={1,2,3}'::real[]", "[1,2,3]"),
        ("ARRAY[2047.5]::float8[]", "[2048]"),
    ] {
        let text: String = query(&mut session, &format!("SELECT ({sql})::image_embedding::text"), &[]);
        assert_eq!(text, expected, "{sql}");
    }
    // Assignment needs no cast, and reading into a real[] column neither.
    session
        .batch_execute(
            "CREATE TABLE kept (value image_embedding(3), numbers real[]);
             INSERT INTO kept VALUES (ARRAY[1, 2, 3], NULL), (ARRAY[0.5, 2, 3]::float8[], NULL), (ARRAY[1, 2, 3]::numeric[], NULL);
             UPDATE kept SET numbers = value",
        )
        .unwrap();
    let differing: i64 =
        query(&mut session, "SELECT count(*) FROM kept WHERE value::real[] IS DISTINCT FROM numbers", &[]);
    assert_eq!(differing, 0);
}

#[test]
fn distances_agree_with_plain_arithmetic() {
    let mut session = Database::shared("distances").connect();
    let sql = "SELECT a <-> b, a <=> b, a <#> b, a <+> b, l2_distance(a, b), cosine_distance(a, b),
                      negative_inner_product(a, b), l1_distance(a, b), inner_product(a, b), embedding_norm(a)
               FROM (SELECT $1::image_embedding AS a, $2::image_embedding AS b) pair";
    let statement = session.prepare(sql).unwrap();
    let session = std::cell::RefCell::new(session);
    cases(2000)
        .run(&pair(), |(a, b)| {
            let row = session.borrow_mut().query_one(&statement, &[&a, &b]).unwrap();
            let found: Vec<f64> = (0..10).map(|column| row.get(column)).collect();
            let (x, y) = (a.to_f64(), b.to_f64());
            let sum = |term: fn(f64, f64) -> f64| x.iter().zip(&y).map(|(&x, &y)| term(x, y)).sum::<f64>();
            let (l2, dot, l1) = (sum(|x, y| (x - y).powi(2)).sqrt(), sum(|x, y| x * y), sum(|x, y| (x - y).abs()));
            let cosine = 1.0 - dot / (a.norm() * b.norm());
            let expected = [l2, cosine, -dot, l1, l2, cosine, -dot, l1, dot, a.norm()];
            // Products are summed in single precision at the least: errors are relative to the operands' size.
            let scale = a.norm() * b.norm();
            let bounds = [a.norm() + b.norm(), 1.0, scale, sum(|x, y| x.abs() + y.abs())];
            let bounds = [bounds, bounds].concat().into_iter().chain([scale, a.norm()]);
            for (place, ((found, expected), bound)) in found.iter().zip(expected).zip(bounds).enumerate() {
                let both_nan = found.is_nan() && expected.is_nan();
                prop_assert!(
                    both_nan || (found - expected).abs() <= 1e-5 * bound,
                    "column {place}: {found}, not {expected}"
                );
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn arithmetic_agrees_with_plain_arithmetic() {
    let mut session = Database::shared("arithmetic").connect();
    let sql = "SELECT a + b, a - b, a * b, a * $3::float8, $3::float8 * a, l2_normalize(a)
               FROM (SELECT $1::image_embedding AS a, $2::image_embedding AS b) pair";
    let statement = session.prepare(sql).unwrap();
    let session = std::cell::RefCell::new(session);
    cases(1000)
        .run(&(pair(), -100.0..100.0f64), |((a, b), factor)| {
            let row = session.borrow_mut().query_one(&statement, &[&a, &b, &factor]).unwrap();
            let (x, y, norm) = (a.to_f64(), b.to_f64(), a.norm());
            for place in 0..x.len() {
                let (x, y) = (x[place], y[place]);
                let unit = if norm > 0.0 { x / norm } else { 0.0 };
                for (column, exact) in [x + y, x - y, x * y, x * factor, factor * x, unit].into_iter().enumerate() {
                    let found = row.get::<_, Embedding>(column).elements[place].to_f64();
                    // Half precision has eleven bits; below its normal range it has a fixed step.
                    let bound = (exact.abs() / 2047.0).max(6e-8);
                    prop_assert!((found - exact).abs() <= bound, "column {column}: {found}, not {exact}");
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn special_values_of_distances() {
    let mut session = Database::shared("special_distances").connect();
    for (sql, expected) in [
        ("'[0,0]' <-> '[3,4]'", 5.0),
        ("'[1,2]' <#> '[3,4]'", -11.0),
        ("'[1,2]' <+> '[3,-4]'", 8.0),
        ("'[1,0]' <=> '[0,1]'", 1.0),
        ("'[1,0]' <=> '[-1,0]'", 2.0),
        ("'[1,0]' <=> '[1,0]'", 0.0),
        // No rounding leaves the range of a cosine.
        ("'[0.1,0.2,0.3]' <=> '[0.2,0.4,0.6]'", 0.0),
        ("'[65504,65504]' <-> '[-65504,-65504]'", 65504.0 * 2.0 * std::f64::consts::SQRT_2),
    ] {
        let (a, operator, b) = {
            let mut parts = sql.split(' ');
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
        };
        let sql = format!("SELECT {a}::image_embedding {operator} {b}::image_embedding");
        let found: f64 = query(&mut session, &sql, &[]);
        assert!(
            (found - expected).abs() <= 1e-3 * expected.abs() && found.is_sign_negative() == (expected < 0.0),
            "{sql}: {found}"
        );
    }
    let nan: f64 = query(&mut session, "SELECT '[0,0]'::image_embedding <=> '[1,0]'::image_embedding", &[]);
    assert!(nan.is_nan(), "a zero vector has no direction: {nan}");
    // All elements at the largest number, at the largest dimension: no overflow on the way.
    let far: f64 = query(
        &mut session,
        "SELECT array_fill(65504::real, ARRAY[16000])::image_embedding <#> array_fill(65504::real, ARRAY[16000])::image_embedding",
        &[],
    );
    let exact = -16_000.0 * 65_504.0 * 65_504.0;
    assert!((far - exact).abs() <= 1e-5 * -exact, "{far}, not {exact}");
}

#[test]
fn tags_travel_through_arithmetic() {
    let mut session = Database::shared("tags_travel").connect();
    for (sql, expected) in [
        ("'[1,2]@0000000a'::image_embedding + '[1,2]@0000000a'", Some("0000000a")),
        ("'[1,2]@0000000a'::image_embedding - '[1,2]'", Some("0000000a")),
        ("'[1,2]'::image_embedding * '[1,2]@0000000a'", Some("0000000a")),
        ("'[1,2]'::image_embedding + '[1,2]'", None),
        ("2 * '[1,2]@0000000a'::image_embedding", Some("0000000a")),
        ("l2_normalize('[1,2]@0000000a'::image_embedding)", Some("0000000a")),
        ("'[1,2]@0000000a'::image_embedding::real[]::image_embedding", None),
        (
            "(SELECT avg(v) FROM (VALUES ('[1,2]@0000000a'::image_embedding), ('[1,2]'), (NULL)) t (v))",
            Some("0000000a"),
        ),
    ] {
        let tag: Option<String> = query(&mut session, &format!("SELECT embedding_model({sql})"), &[]);
        assert_eq!(tag.as_deref(), expected, "{sql}");
    }
}
