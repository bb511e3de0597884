//! What PostgreSQL wants of work that is far from any place where an interrupt can be served: to end soon.
//!
//! The crates below ask [`wanted`] where they can stop, and end in an error; here the error becomes PostgreSQL's own, which
//! knows the reason.

use pgrx::pg_sys;

/// Tells the crates how to ask.
pub fn register() {
    vs_onnx::ask_whether_to_stop(wanted);
    vs_vision::stop_when(wanted);
}

/// Whether the statement or the session is to end. Any thread may ask.
fn wanted() -> bool {
    // SAFETY: reads of flags that signal handlers set, as CHECK_FOR_INTERRUPTS does, and of a counter that does not change
    // while the backend's own thread waits for others.
    unsafe {
        pg_sys::InterruptPending != 0
            && pg_sys::InterruptHoldoffCount == 0
            && (pg_sys::QueryCancelPending != 0 || pg_sys::ProcDiePending != 0)
    }
}
