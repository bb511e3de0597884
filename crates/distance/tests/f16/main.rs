//! Half-precision kernels against references that share no code with them, on every instruction set of this machine.

mod common;
mod conversion;
mod distance;
