//! Every half-precision kernel on every instruction set of this machine: `cargo bench -p vs_distance`.
fn main() {}
