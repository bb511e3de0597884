//! With whose rights and which settings an index is looked at.

use super::held::Held;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The table's owner in the caller's place, with no more rights than that: an index may have expressions and a predicate, which
/// are the owner's code and not to be run with the rights of a superuser who looks at the index. As in `REINDEX`.
pub struct AsOwner {
    user: pg_sys::Oid,
    context: i32,
}

impl AsOwner {
    /// From now on, until it is dropped.
    pub fn begin(held: &Held) -> Self {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: the table is open. The abort of a transaction puts the user back by itself.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            let owner = (*(*held.table).rd_rel).relowner;
            pg_sys::SetUserIdAndSecContext(owner, context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32);
        }
        Self { user, context }
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: puts back what `begin` found.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
}

/// Settings changed for the duration of a function.
pub struct Settings(i32);

impl Settings {
    /// From now on, until it is dropped.
    pub fn begin() -> Self {
        // SAFETY: opens a level of settings, closed by `Drop`, or by the abort of the transaction.
        Self(unsafe { pg_sys::NewGUCNestLevel() })
    }

    /// Sets one at the present level.
    pub fn set(name: &CStr, value: &CStr) {
        // SAFETY: both are zero-terminated; the settings are the planner's, which everybody may change.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes the level that `begin` opened; what was set in it is undone.
            unsafe { pg_sys::AtEOXact_GUC(false, self.0) };
        }
    }
}
