//! What the planner is told about the cost of a distance: a planner support function.
//!
//! One number cannot say it. A distance of 384 dimensions, which lies in the row, takes a tenth of a microsecond; one of
//! 4,096, which PostgreSQL keeps in the TOAST table, takes ten, nearly all of them for bringing the value back. A planner
//! that does not know prefers reading a whole table of long vectors to an index that is a hundred times as fast. So the
//! distance functions name this function in `SUPPORT` (see "Function Optimization Information" in PostgreSQL's manual), and
//! it derives the cost from the dimensions that the arguments are declared with.

use super::datum::ELEMENTS_OFFSET;
use super::simplify;
use crate::returned::Returned;
use pgrx::prelude::*;

/// Costs in units of `cpu_operator_cost`: of a call, and of each so many dimensions. Measured on vectors of 3 to 1,000
/// dimensions against PostgreSQL's own operators.
const CALL: f64 = 8.0;
const DIMS: f64 = 128.0;

/// The size from which on a value leaves its row, as PostgreSQL's `TOAST_TUPLE_TARGET` is by default, less the little that
/// every row has besides.
const TOASTED: usize = 2000;

/// Bytes in a row of a TOAST table (`TOAST_MAX_CHUNK_SIZE`).
const CHUNK: usize = 1996;

/// Costs in units of `seq_page_cost`: of finding a value in the TOAST table, and of each of its chunks. Measured: 5.8 us for
/// two chunks and 10 us for five, where a page of a sequential scan in memory takes about two.
const FIND: f64 = 1.5;
const READ: f64 = 0.75;

/// The support function of the distances: answers `SupportRequestCost`, and [`simplify`]'s requests.
#[pg_extern(sql = false)]
fn image_embedding_distance_support(request: pgrx::Internal) -> Returned {
    let request: *mut pg_sys::Node = request.unwrap().map_or(std::ptr::null_mut(), |datum| datum.cast_mut_ptr());
    // SAFETY: the planner passes a node; for a request that is not answered it expects a null pointer, which is not NULL.
    unsafe {
        if !request.is_null() && (*request).type_ == pg_sys::NodeTag::T_SupportRequestSimplify {
            return Returned::new(pg_sys::Datum::from(simplify::as_operator(request.cast())));
        }
        Returned::new(if answer(request) { pg_sys::Datum::from(request) } else { pg_sys::Datum::null() })
    }
}

/// Answers a request for the cost of a call, if `request` is one, and says whether it did.
///
/// # Safety
/// `request` must be null or a node that a support function was given.
unsafe fn answer(request: *mut pg_sys::Node) -> bool {
    // SAFETY: the planner passes a node of one of the SupportRequest types, told by its tag, and lets us write to it.
    unsafe {
        if request.is_null() || (*request).type_ != pg_sys::NodeTag::T_SupportRequestCost {
            return false;
        }
        let request = request.cast::<pg_sys::SupportRequestCost>();
        let Some(args) = arguments((*request).node) else { return false };
        let mut dims = 0;
        let mut pages = 0.0;
        for at in 0..(*args).length {
            let arg: *mut pg_sys::Node = (*(*args).elements.offset(at as isize)).ptr_value.cast();
            if is_foreign((*request).root, arg) {
                (*request).startup = 0.0;
                (*request).per_tuple = pg_sys::cpu_operator_cost;
                return true;
            }
            let declared = pg_sys::exprTypmod(arg);
            if declared > 0 {
                dims = dims.max(declared as usize);
                // A constant or a parameter is brought back once, a column for each row.
                if (*arg).type_ == pg_sys::NodeTag::T_Var {
                    pages += toast(declared as usize);
                }
            }
        }
        if dims == 0 {
            return false;
        }
        (*request).startup = 0.0;
        (*request).per_tuple = pg_sys::cpu_operator_cost * (CALL + dims as f64 / DIMS) + pg_sys::seq_page_cost * pages;
        true
    }
}

/// Whether `node` is a column of a foreign table. There postgres_fdw adds a fifth to what it takes for the cost of sorting at
/// the other server, the distance in the result with it, but nothing to that of doing it here; a LIMIT is sent only if
/// that is little. It does not cost a distance for each row of the table either way: the other server has its index.
///
/// # Safety
/// `root` must be null or the planner's, and `node` an expression of its query.
unsafe fn is_foreign(root: *mut pg_sys::PlannerInfo, node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag says what the node is; the planner's array has an entry for each relation, or is not made yet.
    unsafe {
        if root.is_null() || (*root).simple_rte_array.is_null() || (*node).type_ != pg_sys::NodeTag::T_Var {
            return false;
        }
        let variable = &*node.cast::<pg_sys::Var>();
        let at = i64::from(variable.varno);
        variable.varlevelsup == 0
            && at > 0
            && at < i64::from((*root).simple_rel_array_size)
            && (*(*root).simple_rte_array.add(at as usize))
                .as_ref()
                .is_some_and(|entry| entry.relkind == pg_sys::RELKIND_FOREIGN_TABLE as std::ffi::c_char)
    }
}

/// The arguments of a call of a function or an operator, if `node` is one.
///
/// # Safety
/// `node` must be null or a valid node.
unsafe fn arguments(node: *mut pg_sys::Node) -> Option<*mut pg_sys::List> {
    if node.is_null() {
        return None;
    }
    // SAFETY: the tag says what the node is.
    let args = unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_OpExpr => (*node.cast::<pg_sys::OpExpr>()).args,
            pg_sys::NodeTag::T_FuncExpr => (*node.cast::<pg_sys::FuncExpr>()).args,
            _ => return None,
        }
    };
    (!args.is_null()).then_some(args)
}

/// What bringing a stored value of `dims` dimensions back from the TOAST table costs, in sequential pages.
fn toast(dims: usize) -> f64 {
    let bytes = ELEMENTS_OFFSET + 2 * dims;
    if bytes <= TOASTED { 0.0 } else { FIND + READ * bytes.div_ceil(CHUNK) as f64 }
}
