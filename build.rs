//! Keeps the section from which cargo-pgrx reads the extension's SQL when the library is linked.
//!
//! The linker may drop it as unused. cargo-pgrx guards against that with flags for every crate, which
//! would have all dependencies compiled once for the extension and once more for everything else; the
//! flag belongs to the one library alone, and `scripts/install` turns cargo-pgrx's off.

fn main() {
    println!("cargo::rustc-link-arg-cdylib=-Wl,--no-gc-sections");
    println!("cargo::rerun-if-changed=build.rs");
}
