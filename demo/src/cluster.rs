//! A PostgreSQL cluster for one run of the demo.
//!
//! It lives in a directory of its own under `/tmp`, accepts connections only through a socket in that
//! directory, which nobody else may enter, and is stopped and removed when the demo ends, whether by
//! success, error, or an interrupt. PostgreSQL refuses to run as root; for root, the cluster belongs to
//! the user `postgres`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use postgres::{Client, NoTls};
use tempfile::TempDir;

const DATABASE: &str = "demo";
const SUPERUSER: &str = "postgres";
const PORT: u16 = 5432;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the user has asked the demo to stop (Ctrl-C, or a signal to terminate).
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A running cluster with a database that has the extension. Dropping it removes it.
pub struct Cluster {
    server: Arc<Server>,
    /// Removes the server's directory when dropped, after the server has stopped. `None` once given away.
    directory: Option<TempDir>,
}

/// The server process, shared with the signal handler.
struct Server {
    bin: PathBuf,
    /// Holds the data directory, the socket and the log.
    directory: PathBuf,
    account: Option<Account>,
    /// Whether there may be something to stop; locked while the server starts or stops.
    running: Mutex<bool>,
}

/// The operating-system account that a server started by root runs under.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Cluster {
    /// Creates and starts a cluster with the programs in `bin`, and installs the handler that stops it on
    /// an interrupt. Meant to be called once.
    ///
    /// # Errors
    /// Whatever keeps `initdb`, `pg_ctl` or `CREATE EXTENSION` from succeeding, with their output.
    pub fn start(bin: &Path) -> Result<Self> {
        let account = Account::for_server()?;
        // Short on purpose: a socket's path has at most 107 bytes, which TMPDIR may not leave.
        let directory = tempfile::Builder::new().prefix("visual_search-demo-").tempdir_in("/tmp")?;
        if let Some(Account { user, group }) = account {
            chown(directory.path(), Some(user), Some(group))?;
        }
        let server = Arc::new(Server {
            bin: bin.to_owned(),
            directory: directory.path().to_owned(),
            account,
            running: Mutex::new(false),
        });
        let cluster = Self { server: Arc::clone(&server), directory: Some(directory) };
        // A query in progress ends with an error when its server goes away, and the error ends the demo.
        ctrlc::set_handler(move || {
            INTERRUPTED.store(true, Ordering::Relaxed);
            server.stop();
        })?;

        cluster.server.start()?;
        cluster.connect_to(SUPERUSER)?.batch_execute(&format!("CREATE DATABASE {DATABASE}"))?;
        cluster.connect()?.batch_execute("CREATE EXTENSION visual_search")?;
        Ok(cluster)
    }

    /// A new connection to the demo's database, as superuser.
    ///
    /// # Errors
    /// The server is gone or has no connection left.
    pub fn connect(&self) -> Result<Client> {
        self.connect_to(DATABASE)
    }

    fn connect_to(&self, database: &str) -> Result<Client> {
        Client::configure()
            .host_path(&self.server.directory)
            .port(PORT)
            .user(SUPERUSER)
            .dbname(database)
            .application_name("demo")
            .connect(NoTls)
            .context("cannot connect to the demo's cluster")
    }

    /// Leaves the server up and its directory in place; returns how to connect and how to end it.
    pub fn keep(mut self) -> String {
        if let Some(directory) = self.directory.take() {
            let _path = directory.keep();
        }
        *self.server.lock_running() = false;

        let Server { bin, directory, account, .. } = &*self.server;
        let (bin, directory) = (bin.display(), directory.display());
        let run_as = if account.is_some() { format!("runuser -u {SUPERUSER} -- ") } else { String::new() };
        format!(
            "Connect with\n    {bin}/psql -h {directory} -p {PORT} -U {SUPERUSER} {DATABASE}\nand end it with\n    \
             (cd / && {run_as}{bin}/pg_ctl stop -D {directory}/data) && rm -r {directory}"
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.stop();
    }
}

impl Server {
    fn lock_running(&self) -> MutexGuard<'_, bool> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn start(&self) -> Result<()> {
        let data = self.data();
        let log = self.directory.join("server.log");
        let data_argument: &OsStr = data.as_ref();
        self.run(
            "initdb",
            &[
                "-D".as_ref(),
                data_argument,
                "-U".as_ref(),
                SUPERUSER.as_ref(),
                // Only the owner of the directory gets as far as the socket.
                "--auth=trust".as_ref(),
                "--encoding=UTF8".as_ref(),
                "--locale=C".as_ref(),
                "--no-sync".as_ref(),
            ],
        )?;
        let configuration = format!(
            "listen_addresses = ''\n\
             unix_socket_directories = '{}'\n\
             port = {PORT}\n\
             shared_buffers = '256MB'\n\
             maintenance_work_mem = '256MB'\n\
             max_wal_size = '2GB'\n\
             synchronous_commit = off\n",
            self.directory.display()
        );
        let path = data.join("postgresql.auto.conf");
        fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;

        let mut running = self.lock_running();
        ensure!(!interrupted(), "interrupted");
        let started = self.run(
            "pg_ctl",
            &[
                "start".as_ref(),
                "-w".as_ref(),
                "-s".as_ref(),
                "-D".as_ref(),
                data_argument,
                "-l".as_ref(),
                log.as_ref(),
            ],
        );
        // Even a server that was not ready in time may be there, and must be stopped.
        *running = true;
        started.with_context(|| format!("its log says:\n{}", fs::read_to_string(&log).unwrap_or_default()))
    }

    /// Stops the server if it runs. Its data are about to be removed, so nothing is written out.
    fn stop(&self) {
        let mut running = self.lock_running();
        if *running {
            *running = false;
            let data = self.data();
            let arguments: [&OsStr; 6] =
                ["stop".as_ref(), "-s".as_ref(), "-m".as_ref(), "immediate".as_ref(), "-D".as_ref(), data.as_ref()];
            if let Err(error) = self.run("pg_ctl", &arguments) {
                eprintln!("demo: {error:#}");
            }
        }
    }

    /// Runs one of the server's programs as the server's account; its output is part of the error.
    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<()> {
        let program = self.bin.join(program);
        let mut command = Command::new(&program);
        // The current directory may be closed to the server's account.
        command.args(arguments).current_dir(&self.directory).env("LC_ALL", "C");
        if let Some(Account { user, group }) = self.account {
            command.gid(group).uid(user);
        }
        let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{} failed ({}): {}", program.display(), output.status, String::from_utf8_lossy(&said).trim());
        }
        Ok(())
    }
}

impl Account {
    /// The account `postgres` if this process is root's, otherwise none: the server runs as we do.
    fn for_server() -> Result<Option<Self>> {
        if id(&["-u"])? != 0 {
            return Ok(None);
        }
        let account = Self { user: id(&["-u", "postgres"])?, group: id(&["-g", "postgres"])? };
        Ok(Some(account))
    }
}

/// A number that id(1) prints.
fn id(arguments: &[&str]) -> Result<u32> {
    let output = Command::new("id").args(arguments).output().context("cannot run id")?;
    ensure!(
        output.status.success(),
        "PostgreSQL does not run as root, and there is no user postgres to run it as: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}
