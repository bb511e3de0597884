//! Threads that decode and embed pictures in parallel, under the rules for threads inside a PostgreSQL backend.
//!
//! Every thread starts with all signals blocked, so that handlers run in the main thread only; no closure that it runs
//! may call PostgreSQL; the main thread waits, so all are idle when control returns to PostgreSQL, by an error or
//! otherwise; and they are joined before the process exits. The pool is rebuilt when `visual_search.threads` changes.

use crate::error::{SqlError, SqlResult};
use crate::settings;
use pgrx::prelude::*;
use pgrx::{PgSqlErrorCode, pg_guard};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;
use vs_onnx::SignalsBlocked;

struct Workers {
    pool: rayon::ThreadPool,
    handles: Vec<JoinHandle<()>>,
}

/// How often the main thread looks whether it has been interrupted while others work.
const LOOK: Duration = Duration::from_millis(5);

thread_local! {
    /// Leaked like the rest of the session: it is ended by `before_shmem_exit` or not at all.
    static WORKERS: &'static RefCell<Option<Workers>> = Box::leak(Box::new(RefCell::new(None)));
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

impl Workers {
    fn start(threads: usize) -> SqlResult<Self> {
        let failed = |error: &dyn std::fmt::Display| {
            SqlError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES, "could not start threads to embed pictures")
                .detail(error.to_string())
        };
        let _blocked = SignalsBlocked::new().map_err(|error| failed(&error))?;
        let mut handles = Vec::new();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread| {
                let builder = std::thread::Builder::new().name(format!("vs worker {}", thread.index()));
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

/// Applies `f` to the items, on this thread or on `visual_search.threads` others, and gives each result with the place
/// of its item to `take`, on this thread and in any order.
///
/// Items are begun in their order, and the results of all that were begun are taken; so if `take` breaks at failures,
/// the failure with the lowest place is the first there is. Interrupts are served between items, with all threads idle:
/// at most one item for each thread is begun after a request to cancel. `f` must not call PostgreSQL, and `take` must not
/// raise an error.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    f: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(usize, R) -> ControlFlow<()>,
) -> SqlResult<()> {
    let threads = settings::threads();
    if threads == 1 || items.len() < 2 {
        for (place, item) in items.iter().enumerate() {
            pgrx::check_for_interrupts!();
            if take(place, f(item)).is_break() {
                break;
            }
        }
        return Ok(());
    }
    let next = AtomicUsize::new(0);
    while next.load(Ordering::Relaxed) < items.len() {
        pgrx::check_for_interrupts!();
        let stopped = with_pool(threads, |pool| work(pool, threads, items, &next, &f, &mut take))?;
        if stopped.is_break() {
            break;
        }
    }
    Ok(())
}

/// Lets the pool work from item `next` on, until there are no more, `take` breaks or an interrupt is due. All threads are
/// idle when it returns.
fn work<T: Sync, R: Send>(
    pool: &rayon::ThreadPool,
    threads: usize,
    items: &[T],
    next: &AtomicUsize,
    f: &(impl Fn(&T) -> R + Sync),
    take: &mut impl FnMut(usize, R) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let stop = AtomicBool::new(false);
    let mut broken = ControlFlow::Continue(());
    pool.in_place_scope(|scope| {
        let (sender, results) = mpsc::channel();
        for _ in 0..threads.min(items.len()) {
            let (sender, stop) = (sender.clone(), &stop);
            // Each begins one item at least, so that interrupts without end cannot keep the work from going on.
            scope.spawn(move |_| {
                while let place = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(item) = items.get(place)
                    && sender.send((place, f(item))).is_ok()
                    && !stop.load(Ordering::Relaxed)
                {}
            });
        }
        drop(sender);
        loop {
            match results.recv_timeout(LOOK) {
                Ok((place, result)) => {
                    if take(place, result).is_break() {
                        broken = ControlFlow::Break(());
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if interrupt_is_due() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    broken
}

/// Whether there is an interrupt that `check_for_interrupts` would serve now. It is not served here: ending the process,
/// which it may ask for, does not unwind, and threads would still be at work.
fn interrupt_is_due() -> bool {
    // SAFETY: plain variables of the backend, read in its main thread; the first is written by signal handlers, hence
    // volatile.
    unsafe {
        (&raw const pg_sys::InterruptPending).read_volatile() != 0
            && pg_sys::InterruptHoldoffCount == 0
            && pg_sys::CritSectionCount == 0
    }
}

fn with_pool<R>(threads: usize, f: impl FnOnce(&rayon::ThreadPool) -> R) -> SqlResult<R> {
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
        Ok(f(&workers.pool))
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
