//! Where the PostgreSQL under test is, and whom its server runs as.

use std::{
    env,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A PostgreSQL installation with the extension in it.
#[derive(Debug)]
pub struct Installation {
    bin: PathBuf,
    /// User and group of the server, where this process is root: a server refuses to run as root.
    server_ids: Option<(u32, u32)>,
}

impl Installation {
    /// The installation whose programs the environment variable `VS_PG_BIN` names.
    ///
    /// # Panics
    /// If the variable is not set: there is no sensible default, because the extension must be installed there.
    pub fn under_test() -> &'static Installation {
        static INSTALLATION: OnceLock<Installation> = OnceLock::new();
        INSTALLATION.get_or_init(|| {
            let bin = env::var_os("VS_PG_BIN")
                .map(PathBuf::from)
                .expect("VS_PG_BIN names the folder of the PostgreSQL programs to test with: run `make test`");
            assert!(bin.join("postgres").is_file(), "VS_PG_BIN={}: no server there", bin.display());
            Installation { bin, server_ids: rustix::process::getuid().is_root().then(ids_of_postgres) }
        })
    }

    /// A program of the installation, in a clean environment, run as whoever runs the test.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.env("HOME", "/nonexistent");
        // The server's user may be unable to enter the folder that the test was started in.
        command.current_dir("/");
        command
    }

    /// A program of the installation, run as the server's user.
    pub fn server_program(&self, name: &str) -> Command {
        let mut command = self.program(name);
        if let Some((uid, gid)) = self.server_ids {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives a file or folder to the server's user.
    pub fn give_to_server(&self, path: &Path) {
        if let Some((uid, gid)) = self.server_ids {
            chown(path, Some(uid), Some(gid)).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
        }
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        static MAJOR: OnceLock<u32> = OnceLock::new();
        *MAJOR.get_or_init(|| {
            let output = self.program("postgres").arg("--version").output().expect("postgres --version runs");
            let text = String::from_utf8_lossy(&output.stdout);
            text.split(|c: char| !c.is_ascii_digit())
                .find_map(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("no version number in {text:?}"))
        })
    }
}

/// The ids of the user `postgres`, as whom a server runs that root starts.
fn ids_of_postgres() -> (u32, u32) {
    let id = |option| {
        let output = Command::new("id").args([option, "postgres"]).output().expect("the program id runs");
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().unwrap_or_else(|_| panic!("root runs servers as the user postgres, who does not exist"))
    };
    (id("-u"), id("-g"))
}
