//! Sessions that embed come and go, are ended, crash with their server, or find no usable ONNX Runtime: each ends in an
//! error or a clean exit, and the server and everybody else go on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use pg_test::{
    Cluster, Database, Embedding, Shutdown, describe, error_of, models, pictures, server_error, shared_cluster,
    wait_until,
};
use postgres::{Client, NoTls};

fn pid_of(session: &mut Client) -> i32 {
    session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

fn embeds(session: &mut Client) {
    let row = session.query_one("SELECT embed_image($1)", &[&pictures::tiny(1)]);
    let vector: Embedding = row.unwrap_or_else(|e| panic!("{}", describe(&e))).get(0);
    assert!(vector.norm() > 0.0);
}

fn gone(pid: i32) {
    wait_until("the backend to exit", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
}

/// Photos in the table of [`fill`]: enough for a statement that has not ended by itself when it is interrupted.
const MANY: i32 = 3_000;

/// A table of small photos, no two alike.
fn fill(database: &Database<'_>, rows: i32) {
    let mut session = database.connect();
    session.batch_execute("CREATE TABLE photos (id int, photo bytea, embedding image_embedding)").unwrap();
    let insert = session.prepare("INSERT INTO photos VALUES ($1, $2)").unwrap();
    let mut transaction = session.transaction().unwrap();
    for id in 0..rows {
        transaction.execute(&insert, &[&id, &pictures::tiny(1_000 + id as u64)]).unwrap();
    }
    transaction.commit().unwrap();
}

/// Runs `interrupt` while a session is in the middle of embedding the table, and gives what became of the session.
fn interrupted(database: &Database<'_>, threads: u32, interrupt: impl FnOnce(i32)) -> Result<(), postgres::Error> {
    let mut session = database.connect();
    session.batch_execute(&format!("SET visual_search.threads = {threads}")).unwrap();
    // With the model loaded and, at two threads, the pool at work.
    session.query("SELECT embed_images($1)", &[&vec![pictures::tiny(1), pictures::tiny(2)]]).unwrap();
    let pid = pid_of(&mut session);
    let mut observer = database.connect();
    thread::scope(|scope| {
        let sql = if threads == 1 {
            "UPDATE photos SET embedding = embed_image(photo)"
        } else {
            "SELECT embed_images(array_agg(photo)) FROM photos"
        };
        let running = scope.spawn(move || session.batch_execute(sql));
        wait_until("the statement to run", || {
            let sql = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE '%photos%'
                       AND clock_timestamp() - query_start > '50 ms'";
            observer.query_opt(sql, &[&pid]).unwrap()
        });
        drop(observer);
        interrupt(pid);
        running.join().expect("the client's thread ends")
    })
}

#[test]
fn a_thousand_sessions() {
    let database = Database::shared("thousand_sessions");
    let _watch = database.watch();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= 1_000 {
                        break;
                    }
                    let mut session = database.connect();
                    let row = session.query_one("SELECT embed_image($1)", &[&pictures::tiny(number)]);
                    let vector: Embedding = row.unwrap_or_else(|e| panic!("session {number}: {}", describe(&e))).get(0);
                    assert!(vector.norm() > 0.0, "session {number}");
                }
            });
        }
    });
    // All of them are gone.
    let mut session = database.connect();
    wait_until("the last backend to exit", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        let sessions: i64 = session.query_one(sql, &[]).unwrap().get(0);
        (sessions == 1).then_some(())
    });
    embeds(&mut session);
}

#[test]
fn by_default_no_thread_is_started_and_others_take_no_signal() {
    let database = Database::shared("threads");
    let _watch = database.watch();
    let mut session = database.connect();
    let pid = pid_of(&mut session);
    let tasks = || -> Vec<PathBuf> {
        fs::read_dir(format!("/proc/{pid}/task"))
            .expect("the backend lives")
            .map(|entry| entry.unwrap().path())
            .collect()
    };
    session.query("SELECT embed_images($1)", &[&vec![pictures::tiny(1), pictures::tiny(2)]]).unwrap();
    assert_eq!(tasks().len(), 1, "one thread by default");

    // Three of our own run a small model side by side; for a large one, ONNX Runtime makes two more besides the caller.
    let batch: Vec<Vec<u8>> = (0..20).map(pictures::tiny).collect();
    session.batch_execute("SET visual_search.threads = 3").unwrap();
    session.query("SELECT embed_images($1)", &[&batch]).unwrap();
    assert_eq!(tasks().len(), 1 + 3, "with a small model");
    shared_cluster().install_model("heavy", &models::heavy_colours());
    session.query("SELECT embed_images($1, 'heavy')", &[&batch]).unwrap();
    let others: Vec<PathBuf> = tasks().into_iter().filter(|task| !task.ends_with(pid.to_string())).collect();
    assert_eq!(others.len(), 3 + 2, "with a large model too");
    for task in &others {
        let status = fs::read_to_string(task.join("status")).expect("the thread lives");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned();
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).expect("a mask");
        // HUP, INT, QUIT, USR1, USR2, ALRM, TERM: those that PostgreSQL handles, in the main thread.
        for signal in [1, 2, 3, 10, 12, 14, 15] {
            assert!(blocked & (1 << (signal - 1)) != 0, "thread {:?} takes signal {signal}", field("Name:"));
        }
        // Idle threads sleep; a spinning one would be running.
        wait_until("the thread to be idle", || field("State:").starts_with(['S', 'R']).then_some(()));
    }
    session.batch_execute("SET visual_search.threads = 1").unwrap();
    embeds(&mut session);
    drop(session);
    gone(pid);
}

#[test]
fn terminated_while_embedding() {
    let database = Database::shared("terminated");
    fill(&database, MANY);
    let _watch = database.watch();
    for round in 0..10 {
        let threads = 1 + round % 2;
        let error = interrupted(&database, threads, |pid| {
            let done: bool = database.connect().query_one("SELECT pg_terminate_backend($1)", &[&pid]).unwrap().get(0);
            assert!(done);
            gone(pid);
        })
        .expect_err("the session was ended");
        assert_eq!(error.code().map(|code| code.code()), Some("57P01"), "{}", describe(&error));
        embeds(&mut database.connect());
    }
}

/// PostgreSQL answers an arithmetic fault with a long jump, which must not leave a lock behind that the backend needs, or
/// waits for when it leaves.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_network_that_divides_beyond_its_integers() {
    let database = Database::shared("overflow");
    let _watch = database.watch();
    shared_cluster().install_model("overflowing", &models::overflowing());
    let white =
        pictures::encode(&image::RgbImage::from_pixel(20, 20, image::Rgb([255; 3])).into(), image::ImageFormat::Png);
    let grey =
        pictures::encode(&image::RgbImage::from_pixel(20, 20, image::Rgb([99; 3])).into(), image::ImageFormat::Png);
    for threads in [1, 2] {
        let mut session = database.connect();
        session.batch_execute(&format!("SET visual_search.threads = {threads}")).unwrap();
        for _ in 0..3 {
            session.query_one("SELECT embed_image($1, 'overflowing')", &[&grey]).unwrap();
            let many = "SELECT embed_images(ARRAY[$1::bytea, $2, $1 || '\\x00'], 'overflowing')";
            let refused = session.query(many, &[&grey, &white]).expect_err("it overflows");
            let error = server_error(refused, many);
            assert_eq!(error.code().code(), "38000", "{}", error.message());
            assert!(error.message().contains("overflowed"), "{}", error.message());
            // Nothing is stuck: not this model, not another, not the statistics.
            session.batch_execute("SELECT * FROM visual_search.inference_stats()").unwrap();
            embeds(&mut session);
        }
        let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        let mut other = database.connect();
        assert!(other.query_one("SELECT pg_terminate_backend($1)", &[&pid]).unwrap().get::<_, bool>(0));
        gone(pid);
    }
}

#[test]
fn a_client_that_vanishes() {
    let database = Database::shared("vanished_client");
    fill(&database, MANY);
    let _watch = database.watch();
    // psql is killed in the middle of a statement that would run for minutes; its backend notices that nobody listens.
    let killed = database
        .program("psql")
        .args(["-X", "-q", "-t", "-A"])
        .input(
            "SELECT pg_backend_pid();
             SET client_connection_check_interval = 20; SET visual_search.cache_bytes = 0;
             \\! (sleep 0.5; kill -KILL $PPID) >/dev/null 2>&1 &
             SELECT count(embed_image(photo)) FROM photos, generate_series(1, 1000);",
        )
        .run();
    assert!(!killed.success(), "psql was killed");
    let pid =
        String::from_utf8_lossy(&killed.stdout).trim().parse().expect("psql has printed its backend's process id");
    gone(pid);
    embeds(&mut database.connect());
}

#[test]
fn stopped_while_embedding() {
    let cluster = Cluster::new();
    let database = cluster.database("stopped");
    fill(&database, MANY);
    for (how, threads) in [(Shutdown::Immediate, 1), (Shutdown::Immediate, 2), (Shutdown::Fast, 1), (Shutdown::Fast, 2)]
    {
        let before = cluster.log().len();
        interrupted(&database, threads, |_| cluster.stop(how)).expect_err("the server was stopped");
        let log = cluster.log()[before..].to_owned();
        // After five seconds the postmaster kills what has not left by itself.
        for line in ["recalcitrant", "terminated by signal", "PANIC"] {
            assert!(!log.contains(line), "{how:?} with {threads} threads:\n{log}");
        }
        cluster.start();
        embeds(&mut database.connect());
        let stored: i64 = database.query_one("SELECT count(embedding) FROM photos");
        assert_eq!(stored, 0, "what was interrupted is undone");
    }
}

#[test]
fn killed_while_embedding() {
    let cluster = Cluster::new();
    let database = cluster.database("killed");
    fill(&database, MANY);
    interrupted(&database, 2, |pid| cluster.kill_backend(pid)).expect_err("the backend was killed");
    // Until the postmaster has noticed, it lets in sessions that it ends a moment later.
    wait_until("the server to restart", || cluster.log().contains("all server processes terminated").then_some(()));
    wait_until("the server to recover", || cluster.config("killed").connect(NoTls).ok());
    embeds(&mut database.connect());
    assert_eq!(database.query_one::<i64>("SELECT count(embedding) FROM photos"), 0);
}

#[test]
fn orphaned_while_embedding() {
    let cluster = Cluster::new();
    let database = cluster.database("orphaned");
    // Few, because a backend whose postmaster has died ends the statement that it is at, and notices then.
    let rows = 300;
    fill(&database, rows);
    let ended = interrupted(&database, 1, |_| cluster.kill_postmaster());
    cluster.start();
    embeds(&mut database.connect());
    let embedded: i64 = database.query_one("SELECT count(embedding) FROM photos");
    // A session may end between its commit and the client's hearing of it.
    let all = embedded == i64::from(rows);
    assert!(all || (embedded == 0 && ended.is_err()), "all or nothing, not {embedded}; the client saw {ended:?}");
}

/// What may be set as `visual_search.onnxruntime_library` and is none that can be used: path, SQLSTATE, part of the
/// message.
fn unusable_libraries(cluster: &Cluster) -> Vec<(PathBuf, &'static str, &'static str)> {
    let folder = cluster.folder();
    let good = fs::read(installed_library(cluster)).expect("the library is installed with the extension");
    let file = |name: &str, content: &[u8]| cluster.write_file(&format!("libraries/{name}"), content);
    let mut nothing_but_header = good[..64].to_vec();
    nothing_but_header.resize(4096, 0);
    let mut garbled = good.clone();
    garbled[64..4096].fill(0x5a);
    let pipe = folder.join("libraries/pipe.so");
    let mut libraries = vec![
        (folder.join("libraries/absent.so"), "58P01", "absent.so"),
        (folder.join("log/below/a/file.so"), "58P01", "file.so"),
        (PathBuf::from("libonnxruntime.so"), "58P01", "absolute"),
        (folder.to_owned(), "55000", "regular file"),
        (file("text.so", b"This is a text.\n"), "55000", "text.so"),
        (file("empty.so", b""), "55000", "empty.so"),
        (file("half.so", &good[..good.len() / 2]), "55000", "cut short"),
        (file("header.so", &nothing_but_header), "55000", "header.so"),
        (file("garbled.so", &garbled), "55000", "garbled.so"),
        (libm(), "55000", "OrtGetApiBase"),
        (pipe.clone(), "55000", "regular file"),
        (old_library(cluster), "55000", "1.15.1"),
        (no_api_library(cluster), "55000", "does not offer"),
    ];
    if !pipe.exists() {
        let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success(), "a pipe is made");
    }
    // A real one from then, where there is one to be had.
    if let Some(old) = std::env::var_os("VS_ONNXRUNTIME_OLD") {
        let content = fs::read(&old).unwrap_or_else(|e| panic!("VS_ONNXRUNTIME_OLD={}: {e}", old.display()));
        libraries.push((file("real_old.so", &content), "55000", "or newer is needed"));
    }
    libraries
}

fn installed_library(cluster: &Cluster) -> PathBuf {
    let output = cluster.installation().program("pg_config").arg("--pkglibdir").output().expect("pg_config runs");
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("visual_search/libonnxruntime.so")
}

/// A shared library that is no ONNX Runtime: the C library's mathematics, which lies beside the C library itself.
fn libm() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let libc = maps.lines().find_map(|line| line.split_whitespace().last().filter(|path| path.ends_with("/libc.so.6")));
    Path::new(libc.expect("the C library is loaded")).with_file_name("libm.so.6")
}

/// A library with the two functions that every ONNX Runtime has, as an old one has them: it states its version and
/// knows no API as new as ours.
fn old_library(cluster: &Cluster) -> PathBuf {
    compile(cluster, "old", "1.15.1", "version <= 15 ? &version : 0")
}

/// One that states a version of today and then offers no API.
fn no_api_library(cluster: &Cluster) -> PathBuf {
    compile(cluster, "no_api", "1.31.1", "0")
}

fn compile(cluster: &Cluster, name: &str, version: &str, api: &str) -> PathBuf {
    let source = format!(
        "typedef struct {{ const void *(*get_api)(unsigned); const char *(*get_version)(void); }} base;
         static const void *get_api(unsigned version) {{ return {api}; }}
         static const char *get_version(void) {{ return \"{version}\"; }}
         static const base the_base = {{ get_api, get_version }};
         const base *OrtGetApiBase(void) {{ return &the_base; }}"
    )
    .replace("&version : 0", "(const void *) &get_api : 0");
    let source = cluster.write_file(&format!("libraries/{name}.c"), source.as_bytes());
    let library = source.with_extension("so");
    // The compiler driver that Rust links with.
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output().expect("cc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    library
}

#[test]
fn an_unusable_library_is_an_error_and_another_can_be_tried() {
    let database = Database::shared("libraries");
    let _watch = database.watch();
    for (path, code, part) in unusable_libraries(shared_cluster()) {
        let mut session = database.connect();
        let pid = pid_of(&mut session);
        session.batch_execute(&format!("SET visual_search.onnxruntime_library = '{}'", path.display())).unwrap();
        for threads in [1, 2] {
            session.batch_execute(&format!("SET visual_search.threads = {threads}")).unwrap();
            for _ in 0..2 {
                let refused = session.query_one("SELECT embed_image($1)", &[&pictures::tiny(1)]);
                let error = server_error(refused.expect_err("this is no usable library"), &path.display().to_string());
                assert_eq!(error.code().code(), code, "{}: {}", path.display(), error.message());
                assert!(
                    error.message().contains(part),
                    "{} does not say {part:?}: {}",
                    path.display(),
                    error.message()
                );
                assert!(error.hint().is_some(), "{}: what to do? {}", path.display(), error.message());
            }
        }
        // What needs no network goes on, and so does everything once the right library is named.
        session.query_one("SELECT image_info($1)::text", &[&pictures::tiny(1)]).unwrap();
        session
            .batch_execute("SELECT '[1,2]'::image_embedding <-> '[3,4]'; SELECT * FROM visual_search.models")
            .unwrap();
        session.batch_execute("RESET visual_search.onnxruntime_library").unwrap();
        embeds(&mut session);
        // A process keeps its library: naming another one changes nothing any more.
        session.batch_execute(&format!("SET visual_search.onnxruntime_library = '{}'", path.display())).unwrap();
        embeds(&mut session);
        drop(session);
        gone(pid);
    }
}

#[test]
fn a_session_that_failed_to_load_leaves_cleanly() {
    let database = Database::shared("failed_then_left");
    let _watch = database.watch();
    for (path, ..) in unusable_libraries(shared_cluster()) {
        let mut session = database.connect();
        let pid = pid_of(&mut session);
        session.batch_execute(&format!("SET visual_search.onnxruntime_library = '{}'", path.display())).unwrap();
        session.query_one("SELECT embed_image($1)", &[&pictures::tiny(1)]).expect_err("this is no usable library");
        drop(session);
        gone(pid);
    }
    embeds(&mut database.connect());
}

#[test]
fn rolled_back_and_prepared_transactions_and_savepoints() {
    let cluster = Cluster::builder().set("max_prepared_transactions", "2").start();
    let _watch = cluster.watch();
    let database = cluster.database("transactions");
    let mut session = database.connect();
    session.batch_execute("CREATE TABLE photos (id int, photo bytea, embedding image_embedding)").unwrap();
    let mut transaction = session.transaction().unwrap();
    for id in 0..5 {
        let mut savepoint = transaction.transaction().unwrap();
        let photo = if id % 2 == 0 { pictures::tiny(id) } else { b"no picture".to_vec() };
        let sql = "INSERT INTO photos VALUES ($1, $2, embed_image($2))";
        match savepoint.execute(sql, &[&(id as i32), &photo]) {
            Ok(_) => savepoint.commit().unwrap(),
            Err(_) => savepoint.rollback().unwrap(),
        }
    }
    transaction.commit().unwrap();
    let right: i64 =
        session.query_one("SELECT count(*) FROM photos WHERE embedding = embed_image(photo)", &[]).unwrap().get(0);
    assert_eq!(right, 3);
    session
        .batch_execute("BEGIN; UPDATE photos SET embedding = embed_image(photo); PREPARE TRANSACTION 'embedded'")
        .unwrap();
    session.batch_execute("COMMIT PREPARED 'embedded'").unwrap();
    // A plpgsql block catches what a picture's error throws, and goes on in the same session.
    session
        .batch_execute(
            "DO $$ BEGIN
                 FOR i IN 1..200 LOOP
                     BEGIN PERFORM embed_image('\\x00'); EXCEPTION WHEN feature_not_supported THEN NULL; END;
                 END LOOP;
             END $$",
        )
        .unwrap_or_else(|e| panic!("{}", describe(&e)));
    assert_eq!(error_of(&mut session, "SELECT embed_image('\\x00')").code().code(), "0A000");
    embeds(&mut session);
}
