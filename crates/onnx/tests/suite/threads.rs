//! Threads: none by default, signals blocked in those there are, joined by `stop`, and clean exits.
//!
//! What concerns a whole process is tried in child processes: this test binary started again, told by an environment
//! variable which part to play.

use std::{
    env, fs,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use serde_json::json;
use vs_onnx::{ErrorKind, Model, Options, stop};

use crate::common::{image_model, picture, runtime};

const ROLE: &str = "VS_ONNX_TEST_ROLE";

/// A model whose runs are spread over that many threads.
fn load(threads: usize) -> Model {
    let folder = image_model("picture.onnx", &json!({}));
    let options = Options { threads, small: 0, ..Options::default() };
    Model::load(runtime(), folder.bundle().expect("a bundle"), &options).expect("a model")
}

/// Thread numbers of this process.
fn threads() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/task").expect("tasks").map(|entry| entry.expect("a task"));
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Starts this binary again to play `role`, and waits for it at most half a minute.
fn play(role: &str) -> ExitStatus {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut child = Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", "threads::role", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env("HOME", home.path())
        .env_remove("XDG_CACHE_HOME")
        .spawn()
        .expect("a child process");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            return status;
        }
        if start.elapsed() > Duration::from_secs(30) {
            child.kill().expect("killed");
            panic!("{role} hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Not a test of its own: the parts that child processes play. Does nothing in the parent.
#[test]
fn role() {
    let Ok(role) = env::var(ROLE) else { return };
    match role.as_str() {
        "one thread" => {
            let before = threads();
            let model = load(1);
            model.embed_images(&[picture(0)]).expect("vectors");
            assert_eq!(threads(), before);
            // A small one makes none whatever it is told: it computes on the threads that call.
            let folder = image_model("picture.onnx", &json!({}));
            let options = Options { threads: 3, ..Options::default() };
            let model = Model::load(runtime(), folder.bundle().expect("a bundle"), &options).expect("a model");
            model.make_room(3).expect("room");
            model.embed_images(&[picture(0)]).expect("vectors");
            assert_eq!(threads(), before);
            // Published builds would have written the cache of their telemetry there.
            let home = env::var_os("HOME").expect("a home");
            assert_eq!(fs::read_dir(home).expect("the home").count(), 0, "nothing is written there");
        }
        "blocked signals" => {
            let before = threads();
            let model = load(3);
            model.embed_images(&[picture(0), picture(1)]).expect("vectors");
            let new: Vec<_> = threads().into_iter().filter(|thread| !before.contains(thread)).collect();
            assert_eq!(new.len(), 2, "the caller and two more");
            for thread in &new {
                let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).expect("a status");
                let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("a mask");
                let mask = u64::from_str_radix(mask.trim(), 16).expect("hexadecimal");
                for signal in [
                    libc::SIGHUP,
                    libc::SIGINT,
                    libc::SIGQUIT,
                    libc::SIGTERM,
                    libc::SIGALRM,
                    libc::SIGUSR1,
                    libc::SIGUSR2,
                ] {
                    assert!(mask & 1 << (signal - 1) != 0, "thread {thread} does not block signal {signal}");
                }
            }
            stop();
            assert_eq!(threads(), before, "stop joins them");
            let error = model.embed_images(&[picture(0)]).expect_err("stopped");
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            let folder = image_model("picture.onnx", &json!({}));
            let again = Model::load(runtime(), folder.bundle().expect("a bundle"), &Options::default());
            assert_eq!(again.err().expect("stopped").kind(), ErrorKind::Cancelled);
            stop();
            // Dropped after its session is gone.
            drop(model);
        }
        "exit with sessions" => {
            let models = [load(1), load(2), load(4)];
            models[2].embed_images(&[picture(0)]).expect("vectors");
            std::mem::forget(models);
            std::process::exit(7);
        }
        "exit after stop" => {
            let model = load(4);
            model.embed_images(&[picture(0)]).expect("vectors");
            stop();
            std::mem::forget(model);
            std::process::exit(7);
        }
        "memory" => {
            let model = load(1);
            let resident = || -> u64 {
                let status = fs::read_to_string("/proc/self/status").expect("a status");
                let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
                line.trim().trim_end_matches(" kB").parse().expect("a number")
            };
            let run =
                |count: u64| (0..count).for_each(|seed| drop(model.embed_images(&[picture(seed)]).expect("vectors")));
            run(500);
            let before = resident();
            run(10_000);
            let grown = resident().saturating_sub(before);
            assert!(grown < 512, "{grown} kB more after 10,000 pictures");
        }
        other => panic!("unknown role {other}"),
    }
}

#[test]
fn one_thread_makes_none() {
    assert!(play("one thread").success());
}

#[test]
fn threads_block_signals_and_are_joined() {
    assert!(play("blocked signals").success());
}

#[test]
fn exits_are_clean_with_and_without_stopping() {
    for role in ["exit with sessions", "exit after stop"] {
        for _ in 0..5 {
            assert_eq!(play(role).code(), Some(7), "{role}");
        }
    }
}

#[test]
fn memory_is_as_before_after_ten_thousand_pictures() {
    assert!(play("memory").success());
}

#[test]
fn small_models_run_side_by_side_and_large_ones_do_not() {
    let large = load(3);
    assert_eq!(large.runs_at_a_time().expect("a number"), 1);
    large.make_room(3).expect("nothing to do");

    let folder = image_model("picture.onnx", &json!({}));
    let options = Options { threads: 3, ..Options::default() };
    let model = Model::load(runtime(), folder.bundle().expect("a bundle"), &options).expect("a model");
    assert_eq!(model.runs_at_a_time().expect("a number"), 3);
    let alone = model.memory();
    model.make_room(100).expect("room");
    assert_eq!(model.memory().weights, 3 * alone.weights, "no more copies than threads");
    model.make_room(2).expect("there is room");
    assert_eq!(model.memory().weights, 3 * alone.weights);
    let wanted: Vec<_> = (0..4).map(|seed| large.embed_images(&[picture(seed)]).expect("vectors")).collect();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (model, wanted) = (&model, &wanted);
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(model.embed_images(&[picture(seed)]).expect("vectors"), wanted[seed as usize]);
                }
            });
        }
    });
    // A folder that has changed cannot be opened once more; what is open goes on.
    let model = Model::load(runtime(), folder.bundle().expect("a bundle"), &options).expect("a model");
    folder.write("picture.onnx", b"something else");
    assert_eq!(model.make_room(2).expect_err("changed").kind(), ErrorKind::ModelInvalid);
    model.embed_images(&[picture(0)]).expect("vectors");
}

#[test]
fn models_serve_several_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let model = load(1);
    shared(&model);
    let wanted = model.embed_images(&[picture(1)]).expect("vectors");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..50).for_each(|_| assert_eq!(model.embed_images(&[picture(1)]).expect("vectors"), wanted))
            });
        }
    });
}
