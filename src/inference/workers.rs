//! Threads that decode pictures in parallel, under the rules for threads inside a PostgreSQL backend.
//!
//! Every thread starts with all signals blocked, so that handlers run in the main thread only; no closure that it runs
//! may call PostgreSQL; the main thread waits, so all are idle when control returns to PostgreSQL; and they are joined
//! before the process exits. The pool is rebuilt when `visual_search.threads` changes.

use crate::error::{SqlError, SqlResult};
use crate::settings;
use pgrx::prelude::*;
use pgrx::{PgSqlErrorCode, pg_guard};
use rayon::prelude::*;
use std::cell::{Cell, RefCell};
use std::thread::JoinHandle;
use vs_onnx::SignalsBlocked;

struct Workers {
    pool: rayon::ThreadPool,
    handles: Vec<JoinHandle<()>>,
}

thread_local! {
    /// Leaked like the rest of the session: it is ended by `before_shmem_exit` or not at all.
    static WORKERS: &'static RefCell<Option<Workers>> = Box::leak(Box::new(RefCell::new(None)));
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

impl Workers {
    fn start(threads: usize) -> SqlResult<Self> {
        let failed = |error: &dyn std::fmt::Display| {
            SqlError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES, "could not start threads to decode pictures")
                .detail(error.to_string())
        };
        let _blocked = SignalsBlocked::new().map_err(|error| failed(&error))?;
        let mut handles = Vec::new();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread| {
                let builder = std::thread::Builder::new().name(format!("vs decode {}", thread.index()));
                handles.push(builder.spawn(|| thread.run())?);
                Ok(())
            })
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self { pool, handles })
    }

    fn join(self) {
        drop(self.pool);
        for handle in self.handles {
            // A panic in a worker has been reported where its result was awaited.
            let _ = handle.join();
        }
    }
}

/// Applies `f` to every item, in order of the items; on this thread, or on `visual_search.threads` others.
///
/// `f` must not call PostgreSQL.
pub fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync + Send) -> SqlResult<Vec<R>> {
    let threads = settings::threads();
    if threads == 1 || items.len() < 2 {
        return Ok(items.iter().map(f).collect());
    }
    stop_at_exit();
    WORKERS.with(|workers| {
        let mut workers = workers.borrow_mut();
        if workers.as_ref().is_some_and(|workers| workers.handles.len() != threads)
            && let Some(old) = workers.take()
        {
            old.join();
        }
        let workers = match &mut *workers {
            Some(workers) => workers,
            none => none.insert(Workers::start(threads)?),
        };
        Ok(workers.pool.install(|| items.par_iter().map(f).collect()))
    })
}

/// Sees to it that all threads of this backend are stopped and joined before it exits, however it exits.
pub fn stop_at_exit() {
    REGISTERED.with(|registered| {
        if !registered.replace(true) {
            // SAFETY: the callback has the right signature, and the extension's library is never unloaded.
            unsafe { pg_sys::before_shmem_exit(Some(stop), pg_sys::Datum::null()) };
        }
    });
}

/// The `before_shmem_exit` callback. Nothing is borrowed here while PostgreSQL code runs, so the borrow succeeds.
#[pg_guard]
unsafe extern "C-unwind" fn stop(_code: std::ffi::c_int, _argument: pg_sys::Datum) {
    WORKERS.with(|workers| {
        if let Some(workers) = workers.try_borrow_mut().ok().and_then(|mut workers| workers.take()) {
            workers.join();
        }
    });
    vs_onnx::stop();
}
