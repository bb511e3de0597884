//! `WHERE embedding <-> $1 < 0.4 ORDER BY embedding <-> $1 LIMIT 50`: a scan that ends at the cutoff.
//!
//! To PostgreSQL the cutoff is a filter like any other: a scan by the index would look on for 50 rows that pass it,
//! though all that is still to come lies beyond. So the hook looks for conditions that bound the very distance that a
//! path's rows come in order of, and derives an index condition from them: the operator with strategy [`STRATEGY`],
//! which takes the column and the bound; the query's vector is known from the order. The condition is lossy, so the
//! original stays as a filter and decides; the scan only learns where it need not go on.
//!
//! Only below a LIMIT. Whoever asks for *all* rows within a distance is not served by a search that finds nearly all.

use super::list::members;
use super::{hooks, nodes};
use crate::embedding::Embedding;
use crate::error::SqlError;
use crate::returned::Returned;
use pgrx::PgSqlErrorCode;
use pgrx::prelude::*;

/// The strategy number of a cutoff in our operator families.
pub const STRATEGY: i16 = 2;

/// The same, but a distance that is not a number passes, too. `1 - d > s` is true of such a `d`, since NaN is greater than
/// every number. Only a cosine distance can be NaN, so only its family has this.
pub const OR_NAN_STRATEGY: i16 = 3;

/// PostgreSQL's btree operator family `float_ops`, to which all comparisons of `real` and `double precision` belong.
const FLOAT_OPS: pg_sys::Oid = pg_sys::Oid::from_u32(1970);

/// The operator of a derived condition. It is not what decides, so whoever asks whether a row passes it, as PostgreSQL does
/// when a row has been changed meanwhile, is told yes.
#[pg_extern(sql = false)]
fn vs_hnsw_cutoff(_embedding: Embedding<'_>, _distance: f64) -> bool {
    true
}

/// That of a condition that NaN passes.
#[pg_extern(sql = false)]
fn vs_hnsw_cutoff_or_nan(_embedding: Embedding<'_>, _distance: f64) -> bool {
    true
}

/// Planner support for the operator: refuses it in a query. What the hook derives does not come by here.
#[pg_extern(sql = false)]
fn vs_hnsw_cutoff_support(request: pgrx::Internal) -> Returned {
    let request: *mut pg_sys::Node = request.unwrap().map_or(std::ptr::null_mut(), |datum| datum.cast_mut_ptr());
    // SAFETY: the planner passes a node; a null pointer, which is not NULL, says that the request is not answered.
    unsafe {
        if !request.is_null() && (*request).type_ == pg_sys::NodeTag::T_SupportRequestSimplify {
            SqlError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "operators ~<= and ~<=? stand only in conditions that the planner makes for vs_hnsw indexes",
            )
            .hint("Compare the distance with a number, as in embedding <-> $1 < 0.4.")
            .raise()
        }
        Returned::new(pg_sys::Datum::null())
    }
}

/// The share of rows within the cutoffs of a path; `None` if its clauses are nothing else.
///
/// # Safety
/// `path` must be the planner's, over an index of vs_hnsw.
pub unsafe fn share_beside_filters(path: *mut pg_sys::IndexPath) -> Option<f64> {
    let (mut share, mut filters) = (1.0, false);
    // SAFETY: the planner's nodes are valid.
    unsafe {
        for clause in members::<pg_sys::IndexClause>((*path).indexclauses) {
            if (*clause).lossy && (*clause).indexcol == 0 {
                share *= members::<pg_sys::RestrictInfo>((*clause).indexquals)
                    .map(|qual| (*qual).norm_selec)
                    .product::<f64>();
            } else {
                filters = true;
            }
        }
    }
    filters.then(|| share.clamp(1e-9, 1.0))
}

/// Adds the cutoffs there are to each path in the order of a distance.
///
/// # Safety
/// `root` and `rel` must be the planner's.
pub unsafe fn offer(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) {
    // SAFETY: the planner's nodes are valid; the list of paths is changed only after it has been read. A path that is
    // replaced is not freed, as add_path frees no IndexPath either.
    unsafe {
        if !hooks::limit_applies(root) {
            return;
        }
        let paths: Vec<*mut pg_sys::Path> = members((*rel).pathlist).collect();
        for path in paths {
            let Some(ordered) = nodes::of_type::<pg_sys::IndexPath>(path.cast(), pg_sys::NodeTag::T_IndexPath) else {
                continue;
            };
            if !hooks::is_ours(ordered.indexinfo) || ordered.indexorderbys.is_null() {
                continue;
            }
            let cutoffs = derive(root, rel, ordered);
            if cutoffs.is_null() {
                continue;
            }
            let bounded = pg_sys::create_index_path(
                root,
                ordered.indexinfo,
                pg_sys::list_concat(cutoffs, ordered.indexclauses),
                ordered.indexorderbys,
                ordered.indexorderbycols,
                ordered.path.pathkeys,
                ordered.indexscandir,
                ordered.path.pathtype == pg_sys::NodeTag::T_IndexOnlyScan,
                required_outer(&ordered.path),
                loops(root, &ordered.path),
                false,
            );
            (*rel).pathlist = pg_sys::list_delete_ptr((*rel).pathlist, path.cast());
            pg_sys::add_path(rel, bounded.cast());
        }
    }
}

/// The relations that a path takes parameters from.
fn required_outer(path: &pg_sys::Path) -> pg_sys::Relids {
    // SAFETY: the planner's; null if there are none.
    unsafe { path.param_info.as_ref() }.map_or(std::ptr::null_mut(), |info| info.ppi_req_outer)
}

/// How often a path will be run, as PostgreSQL estimates it for its own: as often as the smallest of the relations
/// that it takes parameters from has rows.
///
/// # Safety
/// `root` must be the planner's and `path` one of its paths.
unsafe fn loops(root: *mut pg_sys::PlannerInfo, path: &pg_sys::Path) -> f64 {
    let outer = required_outer(path);
    let mut least = f64::INFINITY;
    // SAFETY: members of a set of relations are positions in the array of relations, where an empty one is null.
    unsafe {
        let mut at = pg_sys::bms_next_member(outer, -1);
        while at >= 0 {
            if at < (*root).simple_rel_array_size
                && let Some(rel) = (*(*root).simple_rel_array.add(at as usize)).as_ref()
                && rel.rows > 0.0
            {
                least = least.min(rel.rows);
            }
            at = pg_sys::bms_next_member(outer, at);
        }
    }
    if least.is_finite() { least } else { 1.0 }
}

/// Index clauses for the conditions that bound the distance that the rows of `path` come in order of.
///
/// # Safety
/// All must be the planner's.
unsafe fn derive(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    path: &pg_sys::IndexPath,
) -> *mut pg_sys::List {
    // SAFETY: the planner's nodes are valid; an index has a family and a type for each of its columns.
    unsafe {
        let index = path.indexinfo;
        let order: *mut pg_sys::Node = (*(*path.indexorderbys).elements).ptr_value.cast();
        let column = (*(*path.indexorderbycols).elements).int_value;
        let Some(distance) = Distance::of(order) else { return std::ptr::null_mut() };
        let operator = |strategy: i16| {
            let (family, ty) = (*(*index).opfamily.add(column as usize), *(*index).opcintype.add(column as usize));
            pg_sys::get_opfamily_member(family, ty, pg_sys::FLOAT8OID, strategy)
        };
        let (plain, or_nan) = (operator(STRATEGY), operator(OR_NAN_STRATEGY));
        // An extension that was made by an older version has none.
        if plain == pg_sys::InvalidOid {
            return std::ptr::null_mut();
        }
        let given = path.path.param_info.as_ref().map_or(std::ptr::null_mut(), |info| info.ppi_clauses);
        let mut cutoffs = std::ptr::null_mut();
        for info in members::<pg_sys::RestrictInfo>((*rel).baserestrictinfo).chain(members(given)) {
            if (*info).pseudoconstant {
                continue;
            }
            let Some((bound, nan_passes)) = distance.bound_by((*info).clause.cast()) else { continue };
            if pg_sys::bms_is_member((*rel).relid as i32, pg_sys::pull_varnos(root, bound))
                || pg_sys::contain_volatile_functions(bound)
                || pg_sys::contain_subplans(bound)
            {
                continue;
            }
            let condition = pg_sys::make_opclause(
                if nan_passes && or_nan != pg_sys::InvalidOid { or_nan } else { plain },
                pg_sys::BOOLOID,
                false,
                distance.column.cast(),
                bound.cast(),
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
            );
            pg_sys::set_opfuncid(condition.cast());
            let qual = flat_copy::<pg_sys::RestrictInfo>(info);
            (*qual).clause = condition;
            (*qual).orclause = std::ptr::null_mut();
            (*qual).eval_cost.startup = -1.0;
            // As many rows pass it as the original.
            (*qual).norm_selec =
                pg_sys::clause_selectivity(root, info.cast(), 0, pg_sys::JoinType::JOIN_INNER, std::ptr::null_mut());
            (*qual).outer_selec = -1.0;
            let clause = flat_copy(&pg_sys::IndexClause {
                type_: pg_sys::NodeTag::T_IndexClause,
                rinfo: info,
                indexquals: pg_sys::lappend(std::ptr::null_mut(), qual.cast()),
                // The executor has to check the original condition.
                lossy: true,
                indexcol: column as pg_sys::AttrNumber,
                indexcols: std::ptr::null_mut(),
            });
            cutoffs = pg_sys::lappend(cutoffs, clause.cast());
        }
        cutoffs
    }
}

/// A copy in the current memory context.
///
/// # Safety
/// `original` must be valid.
unsafe fn flat_copy<T>(original: *const T) -> *mut T {
    // SAFETY: palloc returns aligned memory of that size or raises.
    unsafe {
        let copy: *mut T = pg_sys::palloc(size_of::<T>()).cast();
        copy.copy_from_nonoverlapping(original, 1);
        copy
    }
}

/// The distance that rows come in order of: `column operator query`.
struct Distance {
    operator: pg_sys::Oid,
    column: *mut pg_sys::Node,
    query: *mut pg_sys::Node,
}

impl Distance {
    /// The one that `node` computes.
    ///
    /// # Safety
    /// `node` must be an order-by expression of an index path.
    unsafe fn of(node: *mut pg_sys::Node) -> Option<Self> {
        // SAFETY: as for this function.
        unsafe {
            let call = nodes::of_type::<pg_sys::OpExpr>(node, pg_sys::NodeTag::T_OpExpr)?;
            let (column, query) = nodes::pair(call.args)?;
            Some(Self { operator: call.opno, column, query })
        }
    }

    /// What `clause` says that this distance is at most, if it says so in one of the ways that users write it, and whether
    /// it is true of a distance that is NaN.
    ///
    /// # Safety
    /// `clause` must be a planned expression.
    unsafe fn bound_by(&self, clause: *mut pg_sys::Node) -> Option<(*mut pg_sys::Node, bool)> {
        // SAFETY: as for this function; operators on double precision take two arguments.
        unsafe {
            let comparison = nodes::of_type::<pg_sys::OpExpr>(clause, pg_sys::NodeTag::T_OpExpr)?;
            let strategy = pg_sys::get_op_opfamily_strategy(comparison.opno, FLOAT_OPS) as u32;
            let less = match strategy {
                pg_sys::BTLessStrategyNumber | pg_sys::BTLessEqualStrategyNumber => true,
                pg_sys::BTGreaterStrategyNumber | pg_sys::BTGreaterEqualStrategyNumber => false,
                _ => return None,
            };
            let (left, right) = nodes::pair(comparison.args)?;
            let side = |value, bound, bounded_above| {
                let bound = double(bound)?;
                Some((self.solve(value, bound, bounded_above)?, !bounded_above))
            };
            side(left, right, less).or_else(|| side(right, left, !less))
        }
    }

    /// `value` is at most `bound`, or at least if it is not `bounded_above`: what the distance is at most, if `value` is
    /// made from it by changing its sign or taking it from a number.
    ///
    /// # Safety
    /// As for [`Distance::bound_by`].
    unsafe fn solve(
        &self,
        value: *mut pg_sys::Node,
        bound: *mut pg_sys::Node,
        bounded_above: bool,
    ) -> Option<*mut pg_sys::Node> {
        // SAFETY: as for this function; the functions that are called exist in every database.
        unsafe {
            if self.is(value) {
                return bounded_above.then_some(bound);
            }
            let call = nodes::of_type::<pg_sys::OpExpr>(value, pg_sys::NodeTag::T_OpExpr)?;
            match call.opfuncid.to_u32() {
                pg_sys::F_FLOAT8UM => {
                    let inner = members(call.args).next()?;
                    self.solve(inner, negative(bound), !bounded_above)
                }
                pg_sys::F_FLOAT8MUL => {
                    let (left, right) = nodes::pair(call.args)?;
                    let inner = if is_number(right, -1.0) {
                        left
                    } else if is_number(left, -1.0) {
                        right
                    } else {
                        return None;
                    };
                    self.solve(inner, negative(bound), !bounded_above)
                }
                // How near a bound is rounded the scan allows for, if the number is of the size of a distance.
                pg_sys::F_FLOAT8MI => {
                    let (left, right) = nodes::pair(call.args)?;
                    if !is_number(left, 1.0) {
                        return None;
                    }
                    self.solve(right, function(pg_sys::F_FLOAT8MI, &[left, bound]), !bounded_above)
                }
                _ => None,
            }
        }
    }

    /// Whether `node` computes this distance, with its operands in either order.
    ///
    /// # Safety
    /// As for [`Distance::bound_by`].
    unsafe fn is(&self, node: *mut pg_sys::Node) -> bool {
        // SAFETY: as for this function.
        unsafe {
            let Some(call) = nodes::of_type::<pg_sys::OpExpr>(node, pg_sys::NodeTag::T_OpExpr) else { return false };
            // Every distance is its own commutator.
            if call.opno != self.operator {
                return false;
            }
            let Some((left, right)) = nodes::pair(call.args) else { return false };
            let equal = |a: *mut pg_sys::Node, b: *mut pg_sys::Node| pg_sys::equal(a.cast(), b.cast());
            equal(left, self.column) && equal(right, self.query) || equal(left, self.query) && equal(right, self.column)
        }
    }
}

/// The expression in double precision, if it is in single or double.
///
/// # Safety
/// `node` must be a valid expression.
unsafe fn double(node: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    // SAFETY: as for this function.
    unsafe {
        match pg_sys::exprType(node) {
            pg_sys::FLOAT8OID => Some(node),
            pg_sys::FLOAT4OID => Some(function(pg_sys::F_FLOAT8_FLOAT4, &[node])),
            _ => None,
        }
    }
}

/// `-node`
///
/// # Safety
/// `node` must be an expression of double precision.
unsafe fn negative(node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: as for this function.
    unsafe { function(pg_sys::F_FLOAT8UM, &[node]) }
}

/// A call of one of PostgreSQL's functions that return double precision.
///
/// # Safety
/// The arguments must be expressions of the types that it takes.
unsafe fn function(oid: u32, arguments: &[*mut pg_sys::Node]) -> *mut pg_sys::Node {
    // SAFETY: as for this function.
    unsafe {
        let mut args = std::ptr::null_mut();
        for &argument in arguments {
            args = pg_sys::lappend(args, argument.cast());
        }
        pg_sys::makeFuncExpr(
            oid.into(),
            pg_sys::FLOAT8OID,
            args,
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
        .cast()
    }
}

/// Whether `node` is the constant `number`.
///
/// # Safety
/// `node` must be a valid expression.
unsafe fn is_number(node: *mut pg_sys::Node, number: f64) -> bool {
    // SAFETY: as for this function; a constant's type says what its value is.
    unsafe {
        nodes::of_type::<pg_sys::Const>(node, pg_sys::NodeTag::T_Const).is_some_and(|constant| {
            constant.consttype == pg_sys::FLOAT8OID
                && f64::from_datum(constant.constvalue, constant.constisnull) == Some(number)
        })
    }
}
