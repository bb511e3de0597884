//! Results that are built by hand: records, arrays, and the tuples of triggers.

use crate::error::{SqlError, SqlResult};
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{IntoDatum, PgSqlErrorCode, pg_sys};

/// A finished datum of whatever type the SQL of the function declares.
pub struct Returned(pg_sys::Datum);

impl Returned {
    /// Wraps a datum.
    ///
    /// # Safety
    /// It must be a non-null datum of the type that the SQL declares as the result of the running function.
    pub unsafe fn new(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }
}

// SAFETY: `new` puts the burden on its caller.
unsafe impl BoxRet for Returned {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

// SAFETY: only used as the result of functions whose SQL is written by hand.
unsafe impl SqlTranslatable for Returned {
    const TYPE_IDENT: &'static str = "visual_search::returned::Returned";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::Datum);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::literal("anyelement")));
}

/// One column of a record.
pub fn column<T: IntoDatum>(value: T) -> Option<pg_sys::Datum> {
    value.into_datum()
}

/// A record with the columns that the running function declares with OUT, of the types given.
///
/// # Safety
/// `fcinfo` must be that of the running function, and `columns` must match its OUT parameters in number and type.
pub unsafe fn record(fcinfo: pg_sys::FunctionCallInfo, columns: &[Option<pg_sys::Datum>]) -> SqlResult<Returned> {
    let mut descriptor = std::ptr::null_mut();
    // SAFETY: fcinfo is valid; the descriptor is only used if PostgreSQL says that it made one.
    let class = unsafe { pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut descriptor) };
    // SAFETY: a descriptor was made if the class says so.
    if class != pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE || unsafe { (*descriptor).natts } as usize != columns.len() {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            "function's declaration does not match the installed library",
        )
        .hint("Run ALTER EXTENSION visual_search UPDATE."));
    }
    let mut values: Vec<pg_sys::Datum> = columns.iter().map(|c| c.unwrap_or(pg_sys::Datum::null())).collect();
    let mut nulls: Vec<bool> = columns.iter().map(Option::is_none).collect();
    // SAFETY: values and nulls have the descriptor's number of attributes; the tuple is palloc'd in the current context.
    unsafe {
        let descriptor = pg_sys::BlessTupleDesc(descriptor);
        let tuple = pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(Returned(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)))
    }
}
