//! The threads that build a graph in memory, and the leader among them.
//!
//! The leader publishes blocks of nodes; all take runs of them and insert them into the graph. Nobody but the leader
//! knows PostgreSQL. The threads stop when told to: at the end, when the build fails (the crew is dropped while the
//! error unwinds), and when the process exits without unwinding (a `before_shmem_exit` callback).

use super::flush::Joined;
use crate::error::{SqlError, SqlResult, out_of_memory};
use pgrx::PgSqlErrorCode;
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use vs_graph::{Arena, BlockBuilder, Inserted, Inserter, NodeId, PublishError};
use vs_onnx::SignalsBlocked;

/// Nodes that are taken at once.
const RUN: u32 = 32;

/// Nodes that wait before the leader goes on scanning the table: enough to keep the threads busy while it does.
const WAITING: usize = 2048;

/// What the crew shares.
struct Work {
    arena: Arc<Arena>,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Told to stop at once.
    stop: AtomicBool,
}

#[derive(Default)]
struct Queue {
    runs: VecDeque<Range<NodeId>>,
    waiting: usize,
    /// No more will come.
    closed: bool,
    /// A thread has panicked.
    failed: bool,
    joined: Vec<Joined>,
}

impl Work {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.queue().closed = true;
        self.changed.notify_all();
    }

    /// The next run; waits for one if `wait` is set, until there will be none.
    fn take(&self, wait: bool) -> Option<Range<NodeId>> {
        let mut queue = self.queue();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(run) = queue.runs.pop_front() {
                queue.waiting -= run.len();
                return Some(run);
            }
            if queue.closed || !wait {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn insert(&self, inserter: &mut Inserter, run: Range<NodeId>) {
        let mut handle = self.arena.handle();
        for id in run {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Inserted::Same(into) = handle.insert(inserter, id) {
                self.queue().joined.push(Joined { node: into, row: id });
            }
        }
    }

    /// What a thread does.
    fn run(&self) {
        let mut inserter = Inserter::default();
        while let Some(run) = self.take(true) {
            self.insert(&mut inserter, run);
        }
    }
}

/// What a crew shares, and its threads.
type AtWork = (Arc<Work>, Vec<JoinHandle<()>>);

thread_local! {
    /// Crews at work, to be stopped at exit.
    static AT_WORK: RefCell<Vec<AtWork>> = const { RefCell::new(Vec::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The `before_shmem_exit` callback.
#[pg_guard]
unsafe extern "C-unwind" fn stop_at_exit(_code: std::ffi::c_int, _argument: pg_sys::Datum) {
    AT_WORK.with(|crews| {
        if let Ok(mut crews) = crews.try_borrow_mut() {
            for (work, threads) in crews.drain(..) {
                end(&work, threads);
            }
        }
    });
}

fn end(work: &Work, threads: Vec<JoinHandle<()>>) {
    work.stop();
    for thread in threads {
        // A panic has been noted in the queue.
        let _ = thread.join();
    }
}

/// The leader's hold on the crew.
pub struct Crew {
    work: Arc<Work>,
    inserter: Inserter,
}

impl Crew {
    /// Starts `threads` threads besides the leader.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start(arena: Arc<Arena>, threads: usize) -> SqlResult<Self> {
        let failed = |error: std::io::Error| {
            SqlError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES, "could not start threads to build the index")
                .detail(error.to_string())
                .hint("Set max_parallel_maintenance_workers to 0 to build without.")
        };
        REGISTERED.with(|registered| {
            if !registered.replace(true) {
                // SAFETY: the callback has the right signature, and the library is never unloaded.
                unsafe { pg_sys::before_shmem_exit(Some(stop_at_exit), pg_sys::Datum::null()) };
            }
        });
        let work =
            Arc::new(Work { arena, queue: Mutex::default(), changed: Condvar::new(), stop: AtomicBool::new(false) });
        // From here on dropping the crew ends whatever has been started.
        let crew = Self { work: Arc::clone(&work), inserter: Inserter::default() };
        AT_WORK.with_borrow_mut(|crews| crews.push((Arc::clone(&work), Vec::new())));
        let _blocked = SignalsBlocked::new().map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        for number in 0..threads {
            let work = Arc::clone(&work);
            let thread = std::thread::Builder::new().name(format!("vs build {number}")).spawn(move || {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run()));
                if done.is_err() {
                    work.queue().failed = true;
                    work.stop();
                }
            });
            let thread = thread.map_err(failed)?;
            AT_WORK.with_borrow_mut(|crews| {
                if let Some((_, threads)) = crews.last_mut() {
                    threads.push(thread);
                }
            });
        }
        Ok(crew)
    }

    /// The graph.
    pub fn arena(&self) -> &Arc<Arena> {
        &self.work.arena
    }

    /// Publishes a block of nodes; then lends a hand for as long as there is more than enough to do.
    ///
    /// # Errors
    /// If the arena has no room, or a thread has failed.
    pub fn publish(&mut self, block: BlockBuilder) -> SqlResult<()> {
        let ids = self.work.arena.publish(block).map_err(|error| match error {
            PublishError::Full => SqlError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, error.to_string()),
            PublishError::Memory(_) => out_of_memory("building a vs_hnsw index"),
        })?;
        {
            let mut queue = self.work.queue();
            queue.waiting += ids.len();
            let mut first = ids.start;
            while first < ids.end {
                let next = (first + RUN).min(ids.end);
                queue.runs.push_back(first..next);
                first = next;
            }
        }
        self.work.changed.notify_all();
        let alone = AT_WORK.with_borrow(|crews| crews.last().is_none_or(|(_, threads)| threads.is_empty()));
        self.help(if alone { 0 } else { WAITING })
    }

    /// Inserts until no more than `waiting` nodes wait.
    fn help(&mut self, waiting: usize) -> SqlResult<()> {
        loop {
            pgrx::check_for_interrupts!();
            {
                let queue = self.work.queue();
                if queue.failed {
                    return Err(failure());
                }
                if queue.waiting <= waiting {
                    return Ok(());
                }
            }
            let Some(run) = self.work.take(false) else { return Ok(()) };
            self.work.insert(&mut self.inserter, run);
        }
    }

    /// Inserts what is left and returns the graph, and the rows that share a node with another.
    ///
    /// # Errors
    /// If a thread has failed.
    pub fn finish(mut self) -> SqlResult<(Arc<Arena>, Vec<Joined>)> {
        self.help(0)?;
        self.work.queue().closed = true;
        self.work.changed.notify_all();
        let found = AT_WORK.with_borrow_mut(|crews| {
            let at = crews.iter().position(|(work, _)| Arc::ptr_eq(work, &self.work))?;
            Some(crews.remove(at))
        });
        for thread in found.into_iter().flat_map(|(_, threads)| threads) {
            // Each has a run of a few nodes left at most. A panic has been noted in the queue.
            let _ = thread.join();
        }
        let mut queue = self.work.queue();
        if queue.failed {
            return Err(failure());
        }
        let joined = std::mem::take(&mut queue.joined);
        drop(queue);
        Ok((Arc::clone(&self.work.arena), joined))
    }
}

fn failure() -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "a thread that was building the index has failed")
}

impl Drop for Crew {
    fn drop(&mut self) {
        let found = AT_WORK.with_borrow_mut(|crews| {
            let at = crews.iter().position(|(work, _)| Arc::ptr_eq(work, &self.work))?;
            Some(crews.remove(at))
        });
        if let Some((work, threads)) = found {
            end(&work, threads);
        }
    }
}
