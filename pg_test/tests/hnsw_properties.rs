//! Queries as nobody would think of, over tables as nobody would make them: what an index answers agrees with what a
//! plan without one answers.
//!
//! `VS_CASES` says how many, `VS_SEED` which ones, `VS_THREADS` how many at a time, and `VS_FAILURES` after how many that
//! fail to stop; `make soak` runs many.

use std::thread;

use pg_test::{
    Database,
    queries::{self, Report},
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|e| panic!("{name}={value}: {e}")))
}

#[test]
fn generated_queries_agree_with_plans_that_read_the_table() {
    let (cases, seed) = (number("VS_CASES", 300), number("VS_SEED", 1));
    let (threads, most_failures) = (number("VS_THREADS", 1), number("VS_FAILURES", 3));
    let watch = pg_test::shared_cluster().watch();
    let each = cases.div_ceil(threads);
    let part = |thread: u64| {
        let database = Database::shared(&format!("properties_{thread}"));
        queries::run(&database, seed + thread * each, each as usize, most_failures as usize)
    };
    let mut report = Report::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        threads.into_iter().for_each(|thread| report.add(thread.join().expect("a thread that runs queries")));
    });
    println!(
        "{} cases from VS_SEED={seed} on, {} answers by an index, recall {:.4}, {} of {} lists with late rows",
        report.cases,
        report.by_index,
        report.tally.recall(),
        report.tally.late,
        report.tally.late + report.tally.in_order
    );
    drop(watch);
    assert!(report.failures.is_empty(), "{} failures\n{}", report.failures.len(), report.failures.join("\n\n"));
    assert!(report.by_index * 3 > report.cases, "the index is hardly used");
    assert!(report.tally.recall() > 0.9, "recall {}", report.tally.recall());
    assert!(report.tally.late * 100 < report.tally.in_order, "{} lists out of order", report.tally.late);
}
