//! Conditions on the further columns of an index, as the planner sees them.
//!
//! The planner itself finds what an index can decide. Two kinds it misses for a scan in order: before PostgreSQL 17
//! `column = ANY (…)` on a column after the first, because a B-tree scan would lose its order by it, and before 16 a bare
//! `column` or `NOT column` of type boolean, because only its own operator families were known to have `=` for that. Both
//! are added here, to the path that is being priced.

use super::list::members;
use pgrx::prelude::*;

/// The share of the table's rows that pass the conditions that the index decides.
///
/// # Safety
/// The planner's own nodes.
pub unsafe fn selectivity(root: *mut pg_sys::PlannerInfo, path: *mut pg_sys::IndexPath) -> f64 {
    // SAFETY: as above.
    unsafe {
        if (*path).indexclauses.is_null() {
            return 1.0;
        }
        let quals = pg_sys::get_quals_from_indexclauses((*path).indexclauses);
        let table = (*(*(*path).indexinfo).rel).relid;
        pg_sys::clauselist_selectivity(root, quals, table as i32, pg_sys::JoinType::JOIN_INNER, std::ptr::null_mut())
    }
}

/// Whether a path looks for rows whose first column is NULL, which the index does not have.
///
/// # Safety
/// As above.
pub unsafe fn wants_null(path: *mut pg_sys::IndexPath) -> bool {
    // SAFETY: as above; the list is of index clauses, each with a condition.
    unsafe {
        members::<pg_sys::IndexClause>((*path).indexclauses).any(|clause| {
            let condition = (*(*clause).rinfo).clause.cast::<pg_sys::Node>();
            (*clause).indexcol == 0
                && is_a(condition, pg_sys::NodeTag::T_NullTest)
                && (*condition.cast::<pg_sys::NullTest>()).nulltesttype == pg_sys::NullTestType::IS_NULL
        })
    }
}

/// # Safety
/// `node` must be null or a node.
unsafe fn is_a(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> bool {
    // SAFETY: as above.
    unsafe { !node.is_null() && (*node).type_ == tag }
}

/// Adds to `path` the conditions that the planner has missed.
///
/// # Safety
/// As above, with a path that has its clauses and is being priced.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
pub unsafe fn complete(root: *mut pg_sys::PlannerInfo, path: *mut pg_sys::IndexPath) {
    // SAFETY: as above. The path's list may be shared with other paths, so a copy is changed.
    unsafe {
        let index = (*path).indexinfo;
        if (*index).nkeycolumns < 2 {
            return;
        }
        let parameters = (*path).path.param_info;
        let of_join = if parameters.is_null() { std::ptr::null_mut() } else { (*parameters).ppi_clauses };
        let mut added: Vec<*mut pg_sys::IndexClause> = Vec::new();
        for rinfo in members::<pg_sys::RestrictInfo>((*index).indrestrictinfo).chain(members(of_join)) {
            let known = |clause: *mut pg_sys::IndexClause| (*clause).rinfo == rinfo;
            if (*rinfo).pseudoconstant
                || !pg_sys::restriction_is_securely_promotable(rinfo, (*index).rel)
                || members((*path).indexclauses).any(known)
            {
                continue;
            }
            let columns = 1..(*index).nkeycolumns;
            added.extend(columns.filter_map(|column| missed(root, index, column, rinfo)).take(1));
        }
        if added.is_empty() {
            return;
        }
        // In the order of the columns, as the planner has them.
        let mut all: Vec<*mut pg_sys::IndexClause> = members((*path).indexclauses).chain(added).collect();
        all.sort_by_key(|&clause| (*clause).indexcol);
        let list = all.into_iter().fold(std::ptr::null_mut(), |list, clause| pg_sys::lappend(list, clause.cast()));
        (*path).indexclauses = list;
    }
}

/// From PostgreSQL 17 on the planner finds all.
///
/// # Safety
/// None.
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub unsafe fn complete(_root: *mut pg_sys::PlannerInfo, _path: *mut pg_sys::IndexPath) {}

/// `rinfo` as a condition on `column` of the index, if it is one of those that the planner misses.
///
/// # Safety
/// As above.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
unsafe fn missed(
    root: *mut pg_sys::PlannerInfo,
    index: *mut pg_sys::IndexOptInfo,
    column: i32,
    rinfo: *mut pg_sys::RestrictInfo,
) -> Option<*mut pg_sys::IndexClause> {
    // SAFETY: as above; nodes are looked at as what their tags say.
    unsafe {
        let condition = (*rinfo).clause.cast::<pg_sys::Node>();
        let family = *(*index).opfamily.add(column as usize);
        if is_a(condition, pg_sys::NodeTag::T_ScalarArrayOpExpr) {
            let any = &*condition.cast::<pg_sys::ScalarArrayOpExpr>();
            let mut operands = members::<pg_sys::Node>(any.args);
            let (left, right) = (operands.next()?, operands.next()?);
            let collation = *(*index).indexcollations.add(column as usize);
            let fits = any.useOr
                && pg_sys::match_index_to_operand(left, column, index)
                && !pg_sys::bms_is_member((*(*index).rel).relid as i32, pg_sys::pull_varnos(root, right))
                && !pg_sys::contain_volatile_functions(right)
                && (collation == pg_sys::InvalidOid || collation == any.inputcollid)
                && pg_sys::op_in_opfamily(any.opno, family);
            return fits.then(|| clause(column, rinfo, rinfo));
        }
        boolean(root, index, column, rinfo)
    }
}

/// A bare boolean column as `column = true`, `NOT column` as `column = false`; `IS TRUE` and `IS FALSE` alike.
///
/// # Safety
/// As above.
#[cfg(any(feature = "pg14", feature = "pg15"))]
unsafe fn boolean(
    root: *mut pg_sys::PlannerInfo,
    index: *mut pg_sys::IndexOptInfo,
    column: i32,
    rinfo: *mut pg_sys::RestrictInfo,
) -> Option<*mut pg_sys::IndexClause> {
    // SAFETY: as above.
    unsafe {
        let family = *(*index).opfamily.add(column as usize);
        let equal = pg_sys::Oid::from(pg_sys::BooleanEqualOperator);
        if !pg_sys::op_in_opfamily(equal, family) {
            return None;
        }
        let condition = (*rinfo).clause.cast::<pg_sys::Node>();
        let (operand, value) = if is_a(condition, pg_sys::NodeTag::T_BooleanTest) {
            let test = &*condition.cast::<pg_sys::BooleanTest>();
            let value = match test.booltesttype {
                pg_sys::BoolTestType::IS_TRUE => true,
                pg_sys::BoolTestType::IS_FALSE => false,
                _ => return None,
            };
            (test.arg.cast::<pg_sys::Node>(), value)
        } else if is_a(condition, pg_sys::NodeTag::T_BoolExpr)
            && (*condition.cast::<pg_sys::BoolExpr>()).boolop == pg_sys::BoolExprType::NOT_EXPR
        {
            (members::<pg_sys::Node>((*condition.cast::<pg_sys::BoolExpr>()).args).next()?, false)
        } else {
            (condition, true)
        };
        if !pg_sys::match_index_to_operand(operand, column, index) {
            return None;
        }
        let comparison = pg_sys::make_opclause(
            equal,
            pg_sys::BOOLOID,
            false,
            operand.cast(),
            pg_sys::makeBoolConst(value, false).cast(),
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
        );
        let derived = pg_sys::make_restrictinfo(
            root,
            comparison,
            true,
            false,
            false,
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        Some(clause(column, rinfo, derived))
    }
}

/// From PostgreSQL 16 on the planner asks every operator family for `=`.
///
/// # Safety
/// None.
#[cfg(feature = "pg16")]
unsafe fn boolean(
    _root: *mut pg_sys::PlannerInfo,
    _index: *mut pg_sys::IndexOptInfo,
    _column: i32,
    _rinfo: *mut pg_sys::RestrictInfo,
) -> Option<*mut pg_sys::IndexClause> {
    None
}

/// The index's clause for `rinfo`, decided by `derived`.
///
/// # Safety
/// As above.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
unsafe fn clause(
    column: i32,
    rinfo: *mut pg_sys::RestrictInfo,
    derived: *mut pg_sys::RestrictInfo,
) -> *mut pg_sys::IndexClause {
    // SAFETY: a palloc'd node with its tag; the fields not set may be zero.
    unsafe {
        let clause: *mut pg_sys::IndexClause = pg_sys::palloc0(size_of::<pg_sys::IndexClause>()).cast();
        (*clause).type_ = pg_sys::NodeTag::T_IndexClause;
        (*clause).rinfo = rinfo;
        (*clause).indexquals = pg_sys::lappend(std::ptr::null_mut(), derived.cast());
        (*clause).lossy = false;
        (*clause).indexcol = column as _;
        clause
    }
}
