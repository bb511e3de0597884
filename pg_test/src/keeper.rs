//! The process that tidies up behind a cluster.
//!
//! A test can end in ways that run no destructor: a static is never dropped, an interrupt or a SIGKILL leaves nothing
//! running. So a small shell waits at the other end of a pipe that only this process holds. When the pipe closes, for
//! whatever reason, it stops the server and removes its folder.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// `$1` is the folder of a cluster; the server's process id is in `$1/data/postmaster.pid`. An immediate shutdown
/// never waits for clients, and the postmaster kills children that do not heed it within five seconds.
const SCRIPT: &str = r#"
    cat >/dev/null
    if read -r pid <"$1/data/postmaster.pid"; then
        kill -QUIT "$pid" && while kill -0 "$pid"; do sleep 0.05; done
    fi
    rm -rf "$1"
"#;

/// Removes a cluster's folder, and stops its server first, when dropped or when this process ends.
#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Child,
    folder: PathBuf,
}

impl Keeper {
    pub(crate) fn new(folder: &Path) -> Keeper {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "keeper"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt typed at the terminal ends the test, not the one who tidies up.
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        Keeper { shell, folder: folder.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It has nothing to report, and a panic here could be the second one.
        let _ = self.shell.wait();
    }
}
