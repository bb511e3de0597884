//! The elements of arrays.

use crate::error::{SqlError, SqlResult};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;

/// A type with a hash function, as its values lie in arrays.
#[derive(Debug, Clone, Copy)]
pub struct Hashed {
    entry: *mut pg_sys::TypeCacheEntry,
}

impl Hashed {
    /// The type `oid`.
    ///
    /// # Errors
    /// If it has no hash function.
    pub fn of(oid: pg_sys::Oid) -> SqlResult<Self> {
        // SAFETY: looks the type up; entries of the cache stay for the life of the process.
        unsafe {
            let entry = pg_sys::lookup_type_cache(oid, pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO as i32);
            if (*entry).hash_extended_proc_finfo.fn_oid == pg_sys::InvalidOid {
                return Err(SqlError::new(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
                    format!("could not identify an extended hash function for type {}", type_name(oid)),
                )
                .detail("A vs_hnsw index keeps a hash of such values.".to_owned()));
            }
            Ok(Self { entry })
        }
    }

    /// The hash of a value, in which those that are equal under `collation` agree.
    ///
    /// # Safety
    /// `value` must be a datum of the type, not null. Calls a function of the type, which may raise an error.
    pub unsafe fn hash(self, value: pg_sys::Datum, collation: pg_sys::Oid) -> u64 {
        // SAFETY: as above; the entry lives as long as the process.
        unsafe {
            let function = &raw mut (*self.entry).hash_extended_proc_finfo;
            pg_sys::FunctionCall2Coll(function, collation, value, pg_sys::Datum::from(0u64)).value() as u64
        }
    }
}

fn type_name(oid: pg_sys::Oid) -> String {
    // SAFETY: returns a palloc'd zero-terminated string.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::format_type_be(oid)) }.to_string_lossy().into_owned()
}

/// The elements of an array, `None` for NULL ones, and their type. In the current memory context.
///
/// # Safety
/// `array` must be a datum of an array type, not null. May raise an error.
pub unsafe fn elements(array: pg_sys::Datum) -> (Vec<Option<pg_sys::Datum>>, pg_sys::Oid) {
    let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the array is brought into memory, and PostgreSQL says how its elements lie; it returns as many values and
    // flags as it says.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let of = (*array).elemtype;
        let (mut length, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(of, &mut length, &mut by_value, &mut align);
        pg_sys::deconstruct_array(array, of, i32::from(length), by_value, align, &mut values, &mut nulls, &mut count);
        let element = |at: usize| (!*nulls.add(at)).then(|| *values.add(at));
        ((0..count.max(0) as usize).map(element).collect(), of)
    }
}
