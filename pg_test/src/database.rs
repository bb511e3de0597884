//! A database of a test's own, in a cluster that it may share.

use std::sync::OnceLock;

use postgres::{Client, NoTls, error::DbError, types::FromSql};

use crate::{Cluster, Program, Watch};

/// The cluster that the tests of one binary share, with default settings, started when first asked for.
pub fn shared_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::new)
}

/// A database in a running cluster.
#[derive(Debug)]
pub struct Database<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Database<'static> {
    /// A new database with the extension in it, in the shared cluster. The name is to be unlike that of any other test.
    pub fn shared(name: &str) -> Database<'static> {
        shared_cluster().database(name)
    }
}

impl<'a> Database<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &str) -> Database<'a> {
        Database { cluster, name: name.to_owned() }
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A superuser's session.
    pub fn connect(&self) -> Client {
        self.cluster.connect(&self.name)
    }

    /// A session of the role, which must be allowed to log in.
    pub fn connect_as(&self, role: &str) -> Client {
        let session = self.cluster.config(&self.name).user(role).connect(NoTls);
        session.unwrap_or_else(|e| panic!("connecting to {} as {role}: {e}", self.name))
    }

    /// Runs statements in a session of their own.
    pub fn run(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    }

    /// The single value that a query gives in a session of its own.
    pub fn query_one<T: for<'r> FromSql<'r>>(&self, sql: &str) -> T {
        self.connect().query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e))).get(0)
    }

    /// The error that a statement ends with, in a session of its own.
    pub fn error(&self, sql: &str) -> DbError {
        error_of(&mut self.connect(), sql)
    }

    /// A client program told to connect to this database as superuser.
    pub fn program(&self, name: &str) -> Program {
        self.cluster.client_program(name, &self.name)
    }

    /// Runs a script through psql, which stops at the first error.
    pub fn psql(&self, script: impl Into<Vec<u8>>) -> crate::Outcome {
        self.program("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]).input(script).run()
    }

    /// Observes the cluster; see [`Cluster::watch`].
    pub fn watch(&self) -> Watch<'a> {
        self.cluster.watch()
    }
}

/// The error that the server answers a statement with.
///
/// # Panics
/// If it succeeds, or fails with anything else than an error of the server.
pub fn error_of(session: &mut Client, sql: &str) -> DbError {
    match session.batch_execute(sql) {
        Ok(()) => panic!("{sql}: this should have been refused"),
        Err(error) => server_error(error, sql),
    }
}

/// The server's own report inside a client's error.
pub fn server_error(error: postgres::Error, what: &str) -> DbError {
    error.as_db_error().cloned().unwrap_or_else(|| panic!("{what}: no error of the server's: {error}"))
}

/// A client's error with all that the server said.
pub fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        None => error.to_string(),
        Some(server) => format!(
            "{} {}{}{}",
            server.code().code(),
            server.message(),
            server.detail().map(|detail| format!("\nDETAIL: {detail}")).unwrap_or_default(),
            server.hint().map(|hint| format!("\nHINT: {hint}")).unwrap_or_default(),
        ),
    }
}

/// The plan of a statement, as text. `options` go into EXPLAIN's parentheses.
pub fn explain(session: &mut Client, options: &str, sql: &str) -> String {
    let rows = session.query(&format!("EXPLAIN ({options}) {sql}"), &[]);
    let rows = rows.unwrap_or_else(|e| panic!("EXPLAIN {sql}: {}", describe(&e)));
    rows.iter().map(|row| row.get(0)).collect::<Vec<String>>().join("\n")
}
