//! Images keep the order, filters decide as the conditions on values do, and signatures never exclude what passes.

use proptest::prelude::*;
use std::cmp::Ordering;
use vs_filter::{Coarse, Cuts, Filter, Keys, KeysBuf, Mask, Ranges, Signed, Test, image, signature};

/// PostgreSQL's order of numbers.
fn order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).expect("numbers"),
    }
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MIN_POSITIVE),
        (-5i32..5).prop_map(f64::from),
    ]
}

/// Words near each other and at both ends, so that conditions meet them.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..40, (0u64..3).prop_map(|less| u64::MAX - less), any::<u64>()]
}

fn ranges() -> impl Strategy<Value = (Vec<(u64, u64)>, Ranges)> {
    proptest::collection::vec((word(), word()), 0..5)
        .prop_map(|pairs| (pairs.clone(), Ranges::union(pairs.into_iter().map(|(a, b)| Ranges::between(a, b)))))
}

fn within(pairs: &[(u64, u64)], word: u64) -> bool {
    pairs.iter().any(|&(first, last)| first <= word && word <= last)
}

fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        Just(Test::Null),
        Just(Test::NotNull),
        ranges().prop_map(|(_, ranges)| Test::Within(ranges)),
        proptest::collection::vec(proptest::collection::vec(any::<u64>(), 1..3), 0..3).prop_map(|sets| {
            let mask = |set: Vec<u64>| set.into_iter().map(image::of_element).fold(0, |all, bits| all | bits);
            Test::Covers(sets.into_iter().map(mask).collect())
        }),
    ]
}

proptest! {
    #[test]
    fn images_of_floats_keep_the_order(a in any_float(), b in any_float()) {
        prop_assert_eq!(image::of_f64(a).cmp(&image::of_f64(b)), order(a, b), "{} {}", a, b);
    }

    #[test]
    fn images_of_integers_keep_the_order(a in any::<i64>(), b in any::<i64>()) {
        prop_assert_eq!(image::of_i64(a).cmp(&image::of_i64(b)), a.cmp(&b));
        prop_assert!(image::of_i64(i64::MIN) == 0 && image::of_i64(i64::MAX) == u64::MAX);
    }

    #[test]
    fn prefixes_keep_the_order(a in any::<[u8; 16]>(), b in any::<[u8; 16]>()) {
        let (x, y) = (image::of_prefix(&a), image::of_prefix(&b));
        prop_assert!(x == y && a[..8] == b[..8] || x.cmp(&y) == a.cmp(&b));
    }

    #[test]
    fn unions_and_intersections((a, x) in ranges(), (b, y) in ranges(), words in proptest::collection::vec(word(), 30)) {
        let common = x.intersection(&y);
        for word in words.into_iter().chain(a.iter().chain(&b).flat_map(|&(first, last)| [first, last])) {
            prop_assert_eq!(x.contains(word), within(&a, word));
            prop_assert_eq!(common.contains(word), within(&a, word) && within(&b, word));
        }
        let ascending: Vec<u64> = x.iter().flat_map(|(first, last)| [first, last]).collect();
        prop_assert!(ascending.is_sorted());
    }

    #[test]
    fn what_lies_on_a_page_reads_as_it_was(words in proptest::collection::vec(proptest::option::of(word()), 0..31)) {
        let mut buf = KeysBuf::default();
        buf.set(words.iter().copied());
        let keys = buf.keys();
        prop_assert_eq!(keys.bytes().len(), Keys::size(words.len()));
        prop_assert!(keys.is_sound(words.len()));
        for (column, word) in words.iter().enumerate() {
            prop_assert_eq!(keys.get(column), *word);
        }
        prop_assert_eq!(keys.get(words.len()), None);
    }

    #[test]
    fn damaged_keys_are_seen(words in proptest::collection::vec(proptest::option::of(1..u64::MAX), 1..31), at in 0usize..31) {
        let mut buf = KeysBuf::default();
        buf.set(words.iter().copied());
        let mut bytes = buf.keys().bytes().to_vec();
        // A NULL with a word, or a bit for a column that is not there.
        bytes[at / 8] |= 1 << (at % 8);
        let changed = words.get(at).is_none_or(|word| word.is_some());
        prop_assert_eq!(Keys::new(&bytes).is_sound(words.len()), !changed);
        prop_assert!(!Keys::new(&bytes[1..]).is_sound(words.len()));
    }

    #[test]
    fn all_conditions_must_hold(tests in proptest::collection::vec((0usize..3, test()), 0..6), words in proptest::collection::vec(proptest::option::of(word()), 3)) {
        let mut filter = Filter::default();
        for (column, test) in &tests {
            filter.add(*column, test.clone());
        }
        let mut buf = KeysBuf::default();
        buf.set(words.iter().copied());
        let all = tests.iter().all(|(column, test)| test.holds(words[*column]));
        prop_assert_eq!(filter.passes(buf.keys()), all);
        prop_assert!(!(filter.is_never() && all));
    }

    #[test]
    fn a_signature_excludes_nothing_that_passes(
        mut sample in proptest::collection::vec(word(), 0..600),
        tests in proptest::collection::vec(test(), 1..4),
        words in proptest::collection::vec(proptest::option::of(word()), 20),
    ) {
        let kinds = [Coarse::Buckets(Cuts::quantiles(&mut sample)), Coarse::Hash, Coarse::Bloom];
        let mut filter = Filter::default();
        tests.iter().for_each(|test| filter.add(0, test.clone()));
        for kind in kinds {
            let mask = Mask::of(&filter, 0, &kind);
            for &word in &words {
                let mut buf = KeysBuf::default();
                buf.set([word].into_iter());
                prop_assert!(!filter.passes(buf.keys()) || mask.contains(kind.signature(word)));
            }
        }
    }
}

proptest! {
    #[test]
    fn selection_is_what_each_signature_says(
        tests in proptest::collection::vec((0usize..3, test()), 0..4),
        sample in proptest::collection::vec(word(), 0..300),
        rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of(word()), 3), 0..50),
    ) {
        let coarse = [Coarse::Buckets(Cuts::quantiles(&mut sample.clone())), Coarse::Hash, Coarse::Bloom];
        let mut filter = Filter::default();
        tests.iter().for_each(|(column, test)| filter.add(*column, test.clone()));
        let signed = Signed::new(&filter, &coarse);
        let keys: Vec<KeysBuf> = rows.iter().map(|row| {
            let mut buf = KeysBuf::default();
            buf.set(row.iter().copied());
            buf
        }).collect();
        let signatures: Vec<_> = keys.iter().map(|keys| signature(&coarse, keys.keys())).collect();
        let bytes: Vec<u8> = (0..3).flat_map(|column| signatures.iter().map(move |signature| signature[column])).collect();
        let (mut marks, mut found) = (Vec::new(), Vec::new());
        signed.select(&bytes, rows.len(), &mut marks, &mut found);
        let expected: Vec<u32> = (0u32..).zip(&signatures).filter(|(_, s)| signed.may_pass(&s[..])).map(|(at, _)| at).collect();
        prop_assert_eq!(&found, &expected);
        for (at, keys) in (0u32..).zip(&keys) {
            prop_assert!(!filter.passes(keys.keys()) || found.contains(&at));
        }
    }
}

#[test]
fn signatures_exclude_most_of_what_fails() {
    let mut words: Vec<u64> = (0..100_000).map(|at| image::of_i64(at * 7)).collect();
    let cuts = Cuts::quantiles(&mut words);
    let buckets = Coarse::Buckets(cuts.clone());
    assert_eq!(Cuts::stored(cuts.words().to_vec()), Some(cuts));
    let pass = |test: Test, kind: &Coarse| {
        let mask = kind.mask(&test);
        words.iter().filter(|&&word| mask.contains(kind.signature(Some(word)))).count()
    };
    let (low, high) = (image::of_i64(210_000), image::of_i64(217_000));
    let near = pass(Test::Within(Ranges::between(low, high)), &buckets);
    assert!((1000..1900).contains(&near), "{near} may be among a thousand");
    let same = pass(Test::Within(Ranges::one(low)), &Coarse::Hash);
    assert!(same < 100_000 / 200, "{same} may be the one");
    // Of few values each has a bucket of its own.
    let mut few: Vec<u64> = (0..10_000).map(|at| at % 50).collect();
    let few = Coarse::Buckets(Cuts::quantiles(&mut few));
    let mask = few.mask(&Test::Within(Ranges::one(17)));
    assert_eq!((0..50).filter(|&word| mask.contains(few.signature(Some(word)))).collect::<Vec<_>>(), [17]);
}

#[test]
fn arrays_seem_to_have_what_they_lack_as_seldom_as_documented() {
    let hash = |x: u64| (x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ x >> 7).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 13;
    let arrays = 20_000;
    let mut wrong = 0;
    for array in 0..arrays {
        let image = (0..10).map(|at| image::of_element(hash(array * 11 + at))).fold(0, |all, bits| all | bits);
        let test = Test::Covers(vec![image::of_element(hash(array * 11 + 10))]);
        wrong += usize::from(test.holds(Some(image)));
    }
    let share = wrong as f64 / arrays as f64;
    assert!(share < 1.0 / 12.0, "{share}");
}
