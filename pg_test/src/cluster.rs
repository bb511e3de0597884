//! A PostgreSQL cluster of a test's own: made, started, stopped, crashed, copied and removed.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use postgres::{Client, Config, NoTls};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Database, Installation, Program, Watch, keeper::Keeper, wait_until};

/// What every cluster is set to. A crash here is one of a process, not of the machine, so nothing needs to reach the
/// disk; `max_connections` is small because it sizes shared memory.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("fsync", "off"),
    ("max_connections", "40"),
    ("shared_buffers", "64MB"),
    ("wal_level", "logical"),
    ("max_wal_senders", "8"),
    ("log_line_prefix", "%m [%p] %d "),
    ("log_min_messages", "warning"),
    ("logging_collector", "off"),
    ("timezone", "UTC"),
];

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are ended, then a checkpoint is written.
    Fast,
    /// Every process leaves at once; the next start recovers from the WAL.
    Immediate,
}

/// The settings of a cluster that is about to be made.
#[derive(Debug, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
}

impl Builder {
    /// Puts a line into `postgresql.conf`, after and so above the harness's own.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the cluster and starts its server.
    pub fn start(self) -> Cluster {
        let cluster = Cluster::in_new_folder();
        let mut initdb = cluster.installation.server_program("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]);
        Program::new(initdb.arg("-D").arg(cluster.data())).run().expect_success();
        cluster.configure(SETTINGS.iter().copied());
        cluster.configure_models();
        cluster.configure(self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        cluster.start();
        cluster
    }
}

/// A cluster with its own folder and socket; dropping it stops the server and removes the folder.
#[derive(Debug)]
pub struct Cluster {
    installation: &'static Installation,
    keeper: Keeper,
}

impl Cluster {
    /// A running cluster with the harness's settings.
    pub fn new() -> Cluster {
        Cluster::builder().start()
    }

    /// A cluster to be given settings first.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn in_new_folder() -> Cluster {
        let installation = Installation::under_test();
        // The path of a socket has room for about a hundred bytes, which a long TMPDIR would use up.
        let folder = tempfile::Builder::new().prefix("vs_pg_").tempdir_in("/tmp").expect("/tmp takes a folder").keep();
        let cluster = Cluster { installation, keeper: Keeper::new(&folder) };
        installation.give_to_server(&folder);
        cluster
    }

    /// The cluster's folder, which the server may write to: for a socket, a log, a data directory, and files of tests.
    pub fn folder(&self) -> &Path {
        self.keeper.folder()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The installation whose server this is.
    pub fn installation(&self) -> &'static Installation {
        self.installation
    }

    /// Makes a file in the cluster's folder that the server can read, and gives its path.
    pub fn write_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder().join(name);
        let mut made = Vec::new();
        for folder in path.ancestors().skip(1).take_while(|folder| !folder.exists()) {
            made.push(folder.to_owned());
        }
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder can be made");
        fs::write(&path, content).expect("a file can be written");
        made.push(path.clone());
        made.iter().for_each(|path| self.installation.give_to_server(path));
        path
    }

    fn configure<'a>(&self, settings: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut file =
            OpenOptions::new().append(true).open(self.data().join("postgresql.conf")).expect("a config file");
        for (name, value) in settings {
            writeln!(file, "{name} = '{}'", value.replace('\'', "''")).expect("the config file takes a line");
        }
    }

    /// Models come from the cluster's own folder, so that no two clusters share any.
    fn configure_models(&self) {
        let models = self.folder().join("models").display().to_string();
        self.configure([("visual_search.model_dir", models.as_str())].into_iter());
    }

    /// Starts the server and waits until it takes connections, crash recovery included.
    pub fn start(&self) {
        let started = self.pg_ctl(&["start", "-t", "120", "-o"], &[format!("-k {}", self.folder().display())]);
        assert!(started.success(), "the server did not start: {}\n{}", started.stderr, self.log());
    }

    /// Stops the server and waits until all its processes have gone.
    ///
    /// # Panics
    /// If that takes longer than two minutes: something hangs at exit.
    pub fn stop(&self, how: Shutdown) {
        let mode = match how {
            Shutdown::Fast => "fast",
            Shutdown::Immediate => "immediate",
        };
        let processes = self.processes();
        let stopped = self.pg_ctl(&["stop", "-t", "120", "-m", mode], &[]);
        assert!(stopped.success(), "the server did not stop: {}\n{}", stopped.stderr, self.log());
        wait_for_the_end_of(&processes);
    }

    /// Stops and starts the server.
    pub fn restart(&self, how: Shutdown) {
        self.stop(how);
        self.start();
    }

    /// Kills the postmaster as a power failure would, and waits until its children have noticed and gone.
    pub fn kill_postmaster(&self) {
        let processes = self.processes();
        kill(self.postmaster_pid(), Signal::KILL);
        wait_for_the_end_of(&processes);
    }

    /// Kills one server process with SIGKILL, upon which the postmaster restarts all the others.
    pub fn kill_backend(&self, pid: i32) {
        assert!(self.processes().contains(&pid), "{pid} is no process of this cluster");
        kill(pid, Signal::KILL);
    }

    fn pg_ctl(&self, arguments: &[&str], more: &[String]) -> crate::Outcome {
        let mut pg_ctl = self.installation.server_program("pg_ctl");
        pg_ctl.args(arguments).args(more).args(["-w", "-s", "-D"]).arg(self.data()).arg("-l").arg(self.log_file());
        Program::new(&mut pg_ctl).run()
    }

    /// The process id of the postmaster.
    pub fn postmaster_pid(&self) -> i32 {
        let file = self.data().join("postmaster.pid");
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}\n{}", file.display(), self.log()));
        text.lines().next().and_then(|line| line.parse().ok()).expect("the file opens with a process id")
    }

    /// Every process of the server: each has the data directory as its working directory.
    pub fn processes(&self) -> Vec<i32> {
        let data = self.data();
        let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)).collect()
    }

    /// Where the server logs to.
    pub fn log_file(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// The server's log.
    pub fn log(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How to connect to a database as the superuser `postgres`; change it to connect otherwise.
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(self.folder()).user("postgres").dbname(database).application_name("pg_test");
        config
    }

    /// A superuser's session.
    pub fn connect(&self, database: &str) -> Client {
        self.config(database).connect(NoTls).unwrap_or_else(|e| panic!("connecting to {database}: {e}\n{}", self.log()))
    }

    /// A client program such as `psql` or `pg_dump`, told to connect to a database as superuser.
    pub fn client_program(&self, name: &str, database: &str) -> Program {
        let mut command = self.installation.program(name);
        command.env("PGHOST", self.folder()).env("PGUSER", "postgres").env("PGDATABASE", database);
        Program::new(&mut command)
    }

    /// Makes an empty database.
    pub fn empty_database(&self, name: &str) -> Database<'_> {
        self.connect("postgres").batch_execute(&format!("CREATE DATABASE {name}")).expect("a database can be made");
        self.existing_database(name)
    }

    /// A database that has been made otherwise.
    pub fn existing_database(&self, name: &str) -> Database<'_> {
        Database::new(self, name)
    }

    /// Makes a database and creates the extension in it.
    pub fn database(&self, name: &str) -> Database<'_> {
        let database = self.empty_database(name);
        database.run("CREATE EXTENSION visual_search");
        database
    }

    /// Observes the server until the watch is dropped, which panics if the server was harmed meanwhile.
    pub fn watch(&self) -> Watch<'_> {
        Watch::new(self)
    }

    /// A hot standby of this server, streaming from it.
    pub fn standby(&self) -> Cluster {
        let standby = Cluster::in_new_folder();
        let mut backup = self.installation.server_program("pg_basebackup");
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username=postgres", "-h"]);
        Program::new(backup.arg(self.folder()).arg("-D").arg(standby.data())).run().expect_success();
        standby.configure_models();
        standby.start();
        standby
    }

    /// Waits until this standby has replayed all that `primary` has written.
    pub fn wait_for_replay(&self, primary: &Cluster) {
        let lsn: String = primary.query_one("SELECT pg_current_wal_lsn()::text");
        wait_until("the standby to replay", || {
            self.query_one::<Option<bool>>(&format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'")).filter(|done| *done)
        });
    }

    /// The single value that a query on the database `postgres` gives.
    pub fn query_one<T: for<'a> postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.connect("postgres").query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}")).get(0)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster::new()
    }
}

/// Waits until processes are gone for good: one that has ended, but that its parent has not asked after yet, still
/// counts as a running server for the next start.
fn wait_for_the_end_of(processes: &[i32]) {
    for pid in processes {
        wait_until("a server process to end", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    }
}

fn kill(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("process ids are positive");
    kill_process(pid, signal).unwrap_or_else(|e| panic!("kill {}: {e}", pid.as_raw_nonzero()));
}
