//! The models that are compiled into the library.
//!
//! A built-in model carries its version in its name and its bytes never change once released, so a column that names
//! it can be computed again by any later release.

/// The files of a compiled-in model: relative name and content.
pub type Files = &'static [(&'static str, &'static [u8])];

static BUILTIN: &[(&str, Files)] = &include!(concat!(env!("OUT_DIR"), "/builtin_models.rs"));

/// Names and files of every compiled-in model, sorted by name.
pub fn builtin() -> &'static [(&'static str, Files)] {
    BUILTIN
}

/// The files of the compiled-in model called `name`.
pub fn find(name: &str) -> Option<Files> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, files)| *files)
}
