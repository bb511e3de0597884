//! Generated queries over generated tables, each answered twice: as the planner likes, with an index if there is a way
//! to, and by a plan that reads the whole table.
//!
//! What must hold of every answer is in [`Check`]: a scan that is read to its end gives every row, one with LIMIT never
//! fewer than there are, in the order of their distances, each once. What cannot hold of every single one, that the rows
//! are the nearest, is counted over all. Everything comes from one seed, and a case that fails is printed as a script for
//! psql.

mod check;
mod generate;
mod manner;
mod shapes;
mod values;
mod world;

use std::fmt::Write as _;

use fastrand::Rng;
use postgres::{Client, SimpleQueryMessage};

pub use check::{Check, Nearest, Row, Tally};
pub use generate::{Case, Statement};
pub use world::{Features, PREAMBLE, World};

use crate::{Database, describe};

/// Queries over one table.
const CASES_PER_WORLD: usize = 10;

/// What every run is preceded by.
const CLEAN: &[&str] = &["ROLLBACK", "RESET ROLE", "DISCARD ALL", "SET client_min_messages = error"];

/// How the planner is kept from what is not to be tested.
const WAYS: [(&str, &[&str]); 2] = [
    ("as planned", &[]),
    ("by index", &["SET enable_seqscan = off", "SET enable_sort = off", "SET enable_bitmapscan = off"]),
];

/// Plans of the reference read the table.
const REFERENCE: &[&str] =
    &["SET enable_indexscan = off", "SET enable_indexonlyscan = off", "SET vs_hnsw.ef_search = 40"];

/// What came of a number of cases.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases run.
    pub cases: usize,
    /// Answers that came by an index.
    pub by_index: usize,
    /// What is wrong, each with a script that shows it.
    pub failures: Vec<String>,
    /// What is counted over all searches that should find nearly all.
    pub tally: Tally,
}

impl World {
    /// A script for psql that makes the world.
    fn script(&self) -> String {
        let mut script = "CREATE EXTENSION visual_search;\n".to_owned();
        for statement in PREAMBLE.iter().copied().chain(self.history.iter().map(String::as_str)) {
            writeln!(script, "{statement};").expect("a string takes anything");
        }
        script
    }
}

/// Runs statements and returns the rows of those that are asked for.
fn answer<'a>(session: &mut Client, statements: impl IntoIterator<Item = (&'a str, bool)>) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (sql, answers) in statements {
        let messages = session.simple_query(sql).map_err(|error| format!("{} IN {sql}", describe(&error)))?;
        for message in messages {
            if let (SimpleQueryMessage::Row(row), true) = (message, answers) {
                rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
            }
        }
    }
    Ok(rows)
}

/// Everything that is said for an answer: what prepares it, and the query.
fn conversation(world: &World, case: &Case, way: &[&str]) -> Vec<(String, bool)> {
    let mut all: Vec<(String, bool)> = Vec::new();
    let mut say = |sql: &str| all.push((sql.to_owned(), false));
    case.settings.iter().for_each(|sql| say(sql));
    way.iter().for_each(|sql| say(sql));
    if let Some(before) = &case.before {
        say("BEGIN");
        say(before);
    }
    if world.policy {
        say("SET ROLE vs_reader");
    }
    all.extend(case.statements.iter().map(|statement| (statement.sql.clone(), statement.answers)));
    all
}

fn reference(world: &World, case: &Case) -> Vec<(String, bool)> {
    let statements = vec![Statement { sql: case.reference.clone(), answers: true }];
    let case = Case {
        settings: Vec::new(),
        before: case.before.clone(),
        statements,
        reference: String::new(),
        check: Check::Same,
        counts: false,
    };
    conversation(world, &case, REFERENCE)
}

fn said(conversation: &[(String, bool)]) -> impl Iterator<Item = (&str, bool)> {
    conversation.iter().map(|(sql, answers)| (sql.as_str(), *answers))
}

fn clean(session: &mut Client) {
    answer(session, CLEAN.iter().map(|sql| (*sql, false))).unwrap_or_else(|error| panic!("{error}"));
}

/// Whether the plan of what is asked for uses one of our indexes, as far as EXPLAIN can say.
fn uses_index(session: &mut Client, world: &World, case: &Case, way: &[&str]) -> bool {
    let mut all = conversation(world, case, way);
    for statement in &mut all {
        let explainable = ["SELECT", "EXECUTE", "DECLARE", "WITH", "("];
        if explainable.iter().any(|word| statement.0.starts_with(word)) {
            *statement = (format!("EXPLAIN (COSTS off) {}", statement.0), true);
        } else if statement.1 {
            *statement = ("SELECT".to_owned(), false);
        }
    }
    all.retain(|(sql, _)| !sql.starts_with("FETCH") && !sql.starts_with("MOVE"));
    let plan = answer(session, said(&all));
    clean(session);
    plan.is_ok_and(|rows| {
        let has = |row: &Row| row[0].as_ref().is_some_and(|line| line.contains("Order By:"));
        rows.iter().any(has)
    })
}

/// What this server can do.
fn features(session: &mut Client) -> Features {
    session.batch_execute("SELECT '[1]'::image_embedding").expect("the extension is there");
    let mut can = |sql: &str| {
        let rows = answer(session, [(sql, true)]);
        clean(session);
        rows
    };
    Features {
        arrays: can(
            "SELECT '[1]'::image_embedding <-> ARRAY[1]::real[], '[1]'::image_embedding <-> ARRAY[1]::float8[]",
        )
        .is_ok(),
        minimum: std::env::var_os("VS_MINIMUM").is_some(),
    }
}

/// Runs cases in a database, up to `most_failures` that fail.
///
/// # Panics
/// If a world cannot be made or a reference cannot be had.
pub fn run(database: &Database<'_>, seed: u64, cases: usize, most_failures: usize) -> Report {
    database.run("ALTER DATABASE CURRENT SET statement_timeout = '2min'".replace("CURRENT", database.name()).as_str());
    let mut session = database.connect();
    let features = features(&mut session);
    answer(&mut session, PREAMBLE.iter().map(|sql| (*sql, false))).unwrap_or_else(|error| panic!("{error}"));
    let mut report = Report::default();
    for number in 0..cases.div_ceil(CASES_PER_WORLD) {
        // Each world is one seed's, so that any can be made alone.
        let world_seed = seed.wrapping_add(number as u64);
        let mut random = Rng::with_seed(world_seed);
        let mut world = World::new(&mut random);
        clean(&mut session);
        answer(&mut session, world.history.iter().map(|sql| (sql.as_str(), false)))
            .unwrap_or_else(|error| panic!("VS_SEED={world_seed}: {error}\n{}", world.script()));
        for _ in 0..CASES_PER_WORLD.min(cases - report.cases) {
            report.cases += 1;
            let failed = report.failures.len();
            let case = Case::new(&world, &mut random, features);
            report.try_case(&mut session, &world, &case, world_seed);
            if let Some(before) = &case.before {
                world.history.extend(["BEGIN".to_owned(), before.clone(), "ROLLBACK".to_owned()]);
            }
            if let Some(failure) = report.failures.get(failed) {
                eprintln!("{}", failure.lines().next().unwrap_or_default());
            }
            if report.failures.len() >= most_failures {
                return report;
            }
            if report.cases % 1000 == 0 {
                eprintln!("{} cases, {} failures", report.cases, report.failures.len());
            }
        }
    }
    report
}

impl Report {
    /// Adds another's.
    pub fn add(&mut self, other: Report) {
        self.cases += other.cases;
        self.by_index += other.by_index;
        self.failures.extend(other.failures);
        self.tally.add(other.tally);
    }

    fn try_case(&mut self, session: &mut Client, world: &World, case: &Case, seed: u64) {
        clean(session);
        let exact = reference(world, case);
        let expected = answer(session, said(&exact)).unwrap_or_else(|error| panic!("VS_SEED={seed}: {error}"));
        for (name, way) in WAYS {
            clean(session);
            let conversation = conversation(world, case, way);
            let found = answer(session, said(&conversation));
            clean(session);
            let by_index = !way.is_empty() && uses_index(session, world, case, way);
            self.by_index += usize::from(by_index);
            match found.and_then(|found| case.check.verify(found, expected.clone())) {
                Ok(tally) => {
                    if case.counts && by_index {
                        self.tally.add(tally);
                    }
                }
                Err(error) => {
                    let mut script =
                        format!("-- VS_SEED={seed}, {name}: {error}\n{}\\echo reference\n", world.script());
                    for (sql, _) in exact
                        .iter()
                        .chain([&("ROLLBACK; RESET ROLE; DISCARD ALL; \\echo answer\n".to_owned(), false)])
                        .chain(&conversation)
                    {
                        writeln!(script, "{sql};").expect("a string takes anything");
                    }
                    self.failures.push(script.replace("answer\n;", "answer"));
                    return;
                }
            }
        }
    }
}
