//! SQL regression tests as PostgreSQL's own: a script goes through psql, and what psql prints must be what is expected.
//!
//! Scripts lie in `tests/sql`, expected output under the same name in `tests/expected`. The output of a run that
//! differs is kept, and the path printed, so that a reviewed change can be copied over.

use std::{fs, path::Path};

use similar::TextDiff;

use crate::Database;

/// Runs the script `name` in `database` and compares.
///
/// # Panics
/// With a unified diff, if the output is not the expected one. The output goes to `results`.
pub fn run(name: &str, database: &Database<'_>, results: &Path) {
    // Scripts share the server's folder of models, and write to it: one at a time.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let script = tests.join("sql").join(name).with_extension("sql");
    let expected = tests.join("expected").join(name).with_extension("out");

    let psql = database.program("psql").args(["-X", "-a", "-q", "-v", "VERBOSITY=default"]);
    let actual = psql.input(read(&script)).run_interleaved();

    let result = results.join(name).with_extension("out");
    fs::write(&result, &actual).unwrap_or_else(|e| panic!("{}: {e}", result.display()));
    let wanted = if expected.exists() { read(&expected) } else { String::new() };
    if actual != wanted {
        let diff = TextDiff::from_lines(&wanted, &actual);
        let (old, new) = (expected.display().to_string(), result.display().to_string());
        panic!("{name} prints something else:\n{}", diff.unified_diff().context_radius(3).header(&old, &new));
    }
}
