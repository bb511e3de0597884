//! The harness itself, on a server without the extension: above all, that a watch sees the harm it is there to see.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_test::{Cluster, Shutdown, wait_until};

/// What a panic said.
fn complaint(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the watch saw nothing");
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic without words".to_owned())
}

#[test]
fn a_watch_is_content_with_a_server_that_only_works() {
    let cluster = Cluster::new();
    let watch = cluster.watch();
    cluster.empty_database("plain").run("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)");
    assert_eq!(cluster.query_one::<i32>("SELECT 1"), 1);
    drop(watch);
}

#[test]
fn a_watch_sees_a_crash_that_the_server_recovers_from() {
    let cluster = Cluster::new();
    let postmaster = cluster.postmaster_pid();
    let said = complaint(|| {
        let _watch = cluster.watch();
        let victim = cluster.query_one::<i32>("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
        cluster.kill_backend(victim);
        wait_until("the server to recover", || cluster.log().contains("reinitializing").then_some(()));
    });
    assert!(said.contains("was terminated by signal 9"), "{said}");
    assert_eq!(cluster.postmaster_pid(), postmaster, "the postmaster stays, which is why the log must be read");
    wait_until("connections to be taken again", || cluster.config("postgres").connect(postgres::NoTls).ok());
}

#[test]
fn a_watch_sees_a_restart() {
    let cluster = Cluster::new();
    let said = complaint(|| {
        let _watch = cluster.watch();
        cluster.restart(Shutdown::Fast);
    });
    assert!(said.contains("the server was restarted"), "{said}");
}

#[test]
fn a_killed_postmaster_leaves_no_process_and_its_cluster_recovers() {
    let cluster = Cluster::new();
    cluster.connect("postgres").batch_execute("CREATE TABLE kept (a int); INSERT INTO kept VALUES (7)").unwrap();
    cluster.kill_postmaster();
    assert_eq!(cluster.processes(), [] as [i32; 0]);
    cluster.start();
    assert_eq!(cluster.query_one::<i32>("SELECT a FROM kept"), 7);
    assert!(cluster.log().contains("database system was not properly shut down"), "{}", cluster.log());
}

#[test]
fn a_standby_replays_and_serves() {
    let primary = Cluster::new();
    let standby = primary.standby();
    primary.connect("postgres").batch_execute("CREATE TABLE sent (a int); INSERT INTO sent VALUES (5)").unwrap();
    standby.wait_for_replay(&primary);
    assert_eq!(standby.query_one::<i32>("SELECT a FROM sent"), 5);
    assert!(standby.query_one::<bool>("SELECT pg_is_in_recovery()"));
}

#[test]
fn a_dropped_cluster_is_gone() {
    let cluster = Cluster::new();
    let (folder, data) = (cluster.folder().to_owned(), cluster.data());
    let processes = cluster.processes();
    assert!(!processes.is_empty() && data.exists());
    drop(cluster);
    assert!(!folder.exists(), "{} is left behind", folder.display());
    for pid in processes {
        assert!(
            std::fs::read_link(format!("/proc/{pid}/cwd")).ok() != Some(data.clone()),
            "process {pid} is left behind"
        );
    }
}
