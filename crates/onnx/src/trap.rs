//! Arithmetic faults in ONNX Runtime, which are errors here and not the end of the process.
//!
//! See `trap.c` for the how. It matters to a host that turns SIGFPE into an error of its own by a long jump: that would
//! skip every frame of this crate, and leave its locks taken for good.

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn vs_trap(call: unsafe extern "C" fn(*mut c_void), argument: *mut c_void, alone: c_int) -> c_int;
}

/// A call was cut short by an arithmetic fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault;

struct Call<F, R> {
    call: Option<F>,
    result: Option<R>,
}

/// Calls `call`, which must not unwind. After a fault everything that it owned is leaked, and what it borrowed is to be
/// given up. Where other threads work for the call it is not `alone`, and a fault ends the process, as nothing could
/// stop them.
pub(crate) fn trapped<R>(alone: bool, call: impl FnOnce() -> R) -> Result<R, Fault> {
    unsafe extern "C" fn run<F: FnOnce() -> R, R>(argument: *mut c_void) {
        // SAFETY: `trapped` passes a `Call` of these types that nothing else touches meanwhile.
        let slot = unsafe { &mut *argument.cast::<Call<F, R>>() };
        slot.result = slot.call.take().map(|call| call());
    }
    fn runner<F: FnOnce() -> R, R>(_: &F) -> unsafe extern "C" fn(*mut c_void) {
        run::<F, R>
    }
    let runner = runner(&call);
    let mut slot = Call { call: Some(call), result: None };
    // SAFETY: `runner` takes the `Call` that it is passed, which outlives it. Nothing unwinds through C: `call` does not
    // by contract, and a panic in spite of that aborts at `run`, which is `extern "C"`. A fault jumps from below `call`
    // to `vs_trap`, in the same thread; the frames between are not returned to and what they own is leaked, never dropped
    // a second time: `call` has been moved out of the slot into one of them.
    let faulted = unsafe { vs_trap(runner, (&raw mut slot).cast(), alone.into()) } != 0;
    match slot.result {
        Some(result) if !faulted => Ok(result),
        _ => Err(Fault),
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// Divides as C does, without looking.
    fn divide(a: i32, b: i32) -> i32 {
        let (quotient, _remainder): (i32, i32);
        // SAFETY: `idiv` divides EDX:EAX, the sign extension of `a`, and writes nothing but the two registers; where the
        // quotient does not fit it raises the signal that these tests are about.
        unsafe {
            std::arch::asm!("cdq", "idiv {b:e}", b = in(reg) b, inout("eax") a => quotient, out("edx") _remainder);
        }
        quotient
    }

    #[test]
    fn a_fault_is_an_error_and_what_follows_works() {
        for _ in 0..3 {
            assert_eq!(trapped(true, || divide(black_box(7), black_box(2))), Ok(3));
            assert_eq!(trapped(true, || divide(black_box(i32::MIN), black_box(-1))), Err(Fault));
            assert_eq!(trapped(true, || divide(black_box(1), black_box(0))), Err(Fault));
        }
        let inner = trapped(true, || (trapped(true, || divide(1, black_box(0))), divide(black_box(9), 3)));
        assert_eq!(inner, Ok((Err(Fault), 3)), "an inner fault ends at the inner call");
    }

    #[test]
    fn each_thread_has_its_own() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 1..2_000 {
                        assert_eq!(trapped(true, || divide(number, black_box(1))), Ok(number));
                        assert_eq!(trapped(true, || divide(number, black_box(0))), Err(Fault));
                    }
                });
            }
        });
    }
}
