//! Keeping signals away from threads that are not the host's own.
//!
//! A PostgreSQL backend handles its signals in its one thread: handlers set flags and latches that other threads must
//! never touch. A thread inherits the signal mask of the thread that creates it, so whoever creates threads in a
//! backend blocks every signal first and restores the mask afterwards. That is all this module does.

use std::{io, marker::PhantomData, mem::MaybeUninit, ptr};

/// While this guard lives, the current thread, and every thread it creates, has all signals blocked, but for those a
/// faulting instruction raises. Dropping it restores the mask of the current thread; threads made meanwhile keep
/// theirs. Signals that arrive in between stay pending and are delivered then.
#[must_use = "signals are blocked only as long as the guard lives"]
pub struct SignalsBlocked {
    before: libc::sigset_t,
    /// A signal mask belongs to a thread, so the guard must not move to another one.
    _not_send: PhantomData<*const ()>,
}

impl SignalsBlocked {
    /// Blocks the signals of the current thread.
    pub fn new() -> io::Result<Self> {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `all` is a valid place for a signal set, and sigfillset initialises it before sigdelset and
        // pthread_sigmask read it. The signal numbers are valid ones.
        let failed = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT] {
                libc::sigdelset(all.as_mut_ptr(), fault);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
        };
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        // SAFETY: pthread_sigmask succeeded, so it has written the old mask.
        Ok(SignalsBlocked { before: unsafe { before.assume_init() }, _not_send: PhantomData })
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` is a mask that pthread_sigmask returned, and this is the thread it came from, as the guard
        // cannot be sent to another one.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Signal numbers that the calling thread blocks.
    fn blocked() -> Vec<libc::c_int> {
        let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: a null set asks for the current mask, which is written to `mask` before it is read.
        unsafe {
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr()), 0);
            (1..32).filter(|&signal| libc::sigismember(mask.as_ptr(), signal) == 1).collect()
        }
    }

    #[test]
    fn threads_made_under_the_guard_have_signals_blocked_and_the_maker_gets_its_mask_back() {
        let before = blocked();
        let guard = SignalsBlocked::new().expect("mask");
        let inherited = thread::spawn(blocked).join().expect("thread");
        drop(guard);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGALRM, libc::SIGHUP, libc::SIGQUIT] {
            assert!(inherited.contains(&signal), "signal {signal}");
        }
        assert!(!inherited.contains(&libc::SIGSEGV));
        assert_eq!(blocked(), before);
    }
}
