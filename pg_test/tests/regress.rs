//! SQL regression tests: every script in `tests/sql` against its output in `tests/expected`.

use std::{collections::BTreeSet, fs, path::Path};

use pg_test::{Database, models, regress, shared_cluster};

/// Installs the model that the scripts use, once: a script must not find its files half written by another's test.
fn install_colours() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        shared_cluster().install_model("colours", &models::colours(1.0));
    });
}

/// One test for each script, so that they run and fail one by one.
macro_rules! scripts {
    ($($name:ident)*) => {
        const SCRIPTS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                install_colours();
                let database = Database::shared(concat!("regress_", stringify!($name)));
                let _watch = database.watch();
                regress::run(stringify!($name), &database, Path::new(env!("CARGO_TARGET_TMPDIR")));
            }
        )*
    };
}

scripts! { aggregates casts embedding images input_output operators ordering search trigger typmod }

#[test]
fn every_script_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (part, extension) in [("sql", "sql"), ("expected", "out")] {
        let files =
            fs::read_dir(folder.join(part)).expect("the folder is there").map(|entry| entry.unwrap().file_name());
        let found: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
        let expected: BTreeSet<String> = SCRIPTS.iter().map(|name| format!("{name}.{extension}")).collect();
        assert_eq!(found, expected);
    }
}
