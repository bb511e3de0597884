//! `l2_distance(embedding, $1)` is `embedding <-> $1`: planner support.
//!
//! An index orders by operators. Whoever calls the function that stands behind one means the same, so the planner is
//! given the operator in its place, everywhere: in ORDER BY, in a condition, in an index's expression.

use pgrx::prelude::*;

/// Functions that stand behind operators.
const OPERATORS: [(&std::ffi::CStr, &std::ffi::CStr); 4] = [
    (c"l2_distance", c"<->"),
    (c"cosine_distance", c"<=>"),
    (c"negative_inner_product", c"<#>"),
    (c"l1_distance", c"<+>"),
];

/// The operator's expression in place of the call that `request` is about; null if there is none.
///
/// # Safety
/// `request` must be one that PostgreSQL has passed to a support function.
pub unsafe fn as_operator(request: *mut pg_sys::SupportRequestSimplify) -> *mut pg_sys::Node {
    // SAFETY: the request has a call with its arguments; the names of functions are C strings or, of a function that has
    // been dropped, null; the syscache compares names as C strings.
    unsafe {
        let call = &*(*request).fcall;
        let name = pg_sys::get_func_name(call.funcid);
        if name.is_null() || call.args.is_null() || (*call.args).length != 2 {
            return std::ptr::null_mut();
        }
        let name = std::ffi::CStr::from_ptr(name);
        let Some((_, operator)) = OPERATORS.iter().find(|(function, _)| *function == name) else {
            return std::ptr::null_mut();
        };
        let argument = |at: usize| -> *mut pg_sys::Node { (*(*call.args).elements.add(at)).ptr_value.cast() };
        let oid = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::OPERNAMENSP as i32,
            pg_sys::Anum_pg_operator_oid as i16,
            pg_sys::Datum::from(operator.as_ptr()),
            pg_sys::Datum::from(pg_sys::exprType(argument(0))),
            pg_sys::Datum::from(pg_sys::exprType(argument(1))),
            pg_sys::Datum::from(pg_sys::get_func_namespace(call.funcid)),
        );
        // Somebody may have moved one of them elsewhere, or have made an operator of that name.
        if oid == pg_sys::InvalidOid || pg_sys::get_opcode(oid) != call.funcid {
            return std::ptr::null_mut();
        }
        let expression = pg_sys::make_opclause(
            oid,
            pg_sys::FLOAT8OID,
            false,
            argument(0).cast(),
            argument(1).cast(),
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
        );
        pg_sys::set_opfuncid(expression.cast());
        expression.cast()
    }
}
