//! `amcostestimate`: what a scan is worth to the planner.
//!
//! A search looks at about ten times `ef_search` nodes whatever the size of the table, so an index scan costs a fixed sum
//! before its first row, as much again for every `ef_search` rows, and from some point on what a pass over all codes costs
//! ([`crate::index::search`]). PostgreSQL thinks of costs as growing evenly from the first row to the last, and takes the
//! share of them that LIMIT leaves. So the estimate asks how many rows will be drawn ([`Drawn`]), prices those, and states
//! the total of which that share is this price.
//!
//! The estimate decides what is fast, never what is right: whatever is drawn, a scan returns it.

use super::list::members;
use super::options::{self, IterativeScan};
use super::{cutoff, filters, minmax};
use crate::index::pages::Opened;
use crate::storage::Index;
use pgrx::prelude::*;

/// Nodes scored for each candidate kept: measured at ef 10 to 200 on 60,000 pictures it is 6 to 16, 10 at 40.
const NODES_PER_CANDIDATE: f64 = 10.0;

/// The cost of scoring a node, in units of `cpu_operator_cost`.
const SCORE: f64 = 2.0;

/// The same in a pass, which the processor sees coming.
const SCORE_IN_PASS: f64 = 1.0;

/// Nodes that a pass reads in the time in which a search visits one.
const PASS_GAIN: f64 = 4.0;

/// By how much a search that filters looks at more nodes at most.
const MOST_FOR_A_FILTER: f64 = 4.0;

/// What a search that filters costs before it looks at the first node, in pages. It is what makes a B-tree and a sort the
/// choice for some two hundred rows and less, which is where they are quicker: measured, with all in memory, on 60,000
/// rows of 512 dimensions. PostgreSQL prices the rows that they fetch as pages on disk.
const FILTER: f64 = 150.0;

/// The cost of reading the signature of a node on a map page, in units of `cpu_operator_cost`.
const MAPPED: f64 = 0.02;

/// The share of a search's pages that has to be read although the index fits into the cache. PostgreSQL's costs are those
/// of pages on disk; but the pages of an index in use are in memory, and with all of them on disk a search of 400 pages
/// would be taken for worse than reading a table of as many, which takes ten times as long in memory.
const COLD: f64 = 0.05;

/// A plan that is to be taken only if nothing else is left. Costs above infinity's reach would hide each other, so this is
/// well above PostgreSQL's `disable_cost` of 1e10.
const LAST_RESORT: f64 = 1.0e11;

/// A plan that is not to be taken whatever is left. Not infinity, since the planner takes differences.
const NEVER: f64 = 1.0e100;

/// What LIMIT is taken for where its value is not known, as in a generic plan: users look at pages of results. PostgreSQL
/// takes it for a tenth of the rows.
const UNKNOWN_LIMIT: f64 = 100.0;

/// Bytes that a pass keeps of a node.
const KEPT: f64 = 32.0;

/// `amcostestimate`
#[pg_guard]
pub unsafe extern "C-unwind" fn amcostestimate(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
    startup: *mut pg_sys::Cost,
    total: *mut pg_sys::Cost,
    selectivity: *mut pg_sys::Selectivity,
    correlation: *mut f64,
    pages: *mut f64,
) {
    // SAFETY: the planner passes valid nodes and places for the results.
    unsafe {
        let info = (*path).indexinfo;
        let table = (*path).path.parent;
        filters::complete(root, path);
        *selectivity = filters::selectivity(root, path);
        *correlation = 0.0;
        *pages = f64::from((*info).pages);
        let inexact = minmax::is_rewritten(root) && !options::exact();
        if (*path).indexorderbys.is_null() || filters::wants_null(path) || inexact {
            // There is nothing to scan by, or a minimum would be a guess: not even for a plan that nothing else is left for.
            *startup = NEVER;
            *total = NEVER;
            *selectivity = 0.0;
            #[cfg(feature = "pg18")]
            {
                // From 18 on a disabled plan is told by a count, before costs are compared.
                (*path).path.disabled_nodes = 2;
            }
            return;
        }
        // A partial index has fewer rows than the table.
        let rows = (*info).tuples.max(1.0);
        let parameters = (*path).path.param_info;
        let expected = if parameters.is_null() { (*table).rows } else { (*parameters).ppi_rows }.max(1.0);
        // What the index itself decides it does not hand out, nor what lies beyond a cutoff.
        let chosen = (*selectivity).clamp(1.0 / rows, 1.0);
        // A share of one row in 49, times 49, is less than one row.
        let among = (rows * chosen).max(1.0);
        let kept = (expected / among).clamp(1e-9, 1.0);
        let drawn = Drawn::of(root, among, kept);
        let mut page_cost = 0.0;
        pg_sys::get_tablespace_page_costs((*info).reltablespace, &mut page_cost, std::ptr::null_mut());
        // A cutoff ends a search, and does not make it a filtered one.
        let filtered = cutoff::share_beside_filters(path).map_or(1.0, |share| (chosen / share).clamp(1.0 / rows, 1.0));
        let scan = Scan {
            rows,
            chosen: filtered,
            pages: f64::from((*info).pages).max(1.0),
            page_cost,
            loops: loop_count.max(1.0),
            recheck: per_row_cost(root, (*path).indexorderbys),
        };
        let first = if options::exact() { scan.pass() } else { scan.search() };
        *startup = first;
        *total = match drawn {
            Drawn::Rows { wanted, share } => first + scan.run(wanted) / share,
            Drawn::AllBeforeTheFirst => {
                // What PostgreSQL adds for the table's pages it will take a share of, so the whole of it is stated here.
                let heap = f64::from((*table).pages).min(among) * page_cost;
                *startup += scan.run(among) + heap;
                *startup
            }
        };
        if is_of_other_length(info) {
            *startup += OTHER_LENGTH;
            *total += OTHER_LENGTH;
        }
        // Whoever turns iteration off wants what the first search finds, and says how many by LIMIT.
        let ends_early = options::iterative_scan() == IterativeScan::Off && (*(*root).parse).limitCount.is_null();
        if !options::exact() && (ends_early || trusts_the_order(root, path)) {
            *startup += LAST_RESORT;
            *total += LAST_RESORT;
            #[cfg(feature = "pg18")]
            {
                (*path).path.disabled_nodes = 2;
            }
        }
    }
}

/// What is added for an index whose graph is of vectors of another length than those that there are: reading the table is
/// as quick, and needs no memory for all rows. Less than PostgreSQL's `disable_cost`, so that `enable_seqscan = off` still
/// shows what the index answers.
const OTHER_LENGTH: f64 = 5.0e9;

/// Whether the graph of an index is of vectors of another length than those that there are.
///
/// # Safety
/// `info` must be the planner's, which holds a lock on the index.
unsafe fn is_of_other_length(info: *const pg_sys::IndexOptInfo) -> bool {
    // SAFETY: as above; an index that some extension only supposes is not opened.
    unsafe {
        if (*info).hypothetical {
            return false;
        }
        let relation = pg_sys::index_open((*info).indexoid, pg_sys::NoLock as i32);
        // What is wrong with an index its scan will say.
        let found = Opened::open(Index::new(relation)).is_ok_and(|opened| opened.meta.other_length != 0);
        pg_sys::index_close(relation, pg_sys::NoLock as i32);
        found
    }
}

/// Whether a plan above may take rows that come late for something else than late: groups, peers of a window and the sides
/// of a merge join are told by the order of all rows, in which what a search came to too late stands at the end.
///
/// # Safety
/// Both must be the planner's, and `path` an index path with its order.
unsafe fn trusts_the_order(root: *mut pg_sys::PlannerInfo, path: *mut pg_sys::IndexPath) -> bool {
    // SAFETY: as above; path keys are members of equivalence classes.
    unsafe {
        let query = &*(*root).parse;
        let unlimited_window = query.hasWindowFuncs && query.limitCount.is_null();
        // Of a partitioned table there are further members, for the partitions.
        let equal = |key: *mut pg_sys::PathKey| {
            let all = members::<pg_sys::EquivalenceMember>((*(*key).pk_eclass).ec_members);
            all.filter(|member| !(**member).em_is_child).count()
        };
        let merges = members((*path).path.pathkeys).any(|key| equal(key) > 1);
        !query.groupClause.is_null() || !query.distinctClause.is_null() || unlimited_window || merges
    }
}

/// What evaluating `expressions` for a row costs.
///
/// # Safety
/// Both must be the planner's.
unsafe fn per_row_cost(root: *mut pg_sys::PlannerInfo, expressions: *mut pg_sys::List) -> f64 {
    let mut cost = pg_sys::QualCost::default();
    // SAFETY: as above; walks the expressions and writes the result.
    unsafe { pg_sys::cost_qual_eval(&mut cost, expressions, root) };
    cost.per_tuple
}

/// How many rows the plan above will draw from a scan.
#[derive(Debug, Clone, Copy)]
enum Drawn {
    /// Some, as they come.
    Rows {
        /// How many, before the query's filters, at least one.
        wanted: f64,
        /// The share of a scan's cost that PostgreSQL will take for them.
        share: f64,
    },
    /// All of them, before the plan above returns its first row.
    AllBeforeTheFirst,
}

impl Drawn {
    /// For a scan of `rows` rows of which the query's filters keep the share `kept`.
    ///
    /// # Safety
    /// `root` must be the planner's.
    unsafe fn of(root: *mut pg_sys::PlannerInfo, rows: f64, kept: f64) -> Self {
        // SAFETY: as above.
        let (fraction, limit_tuples, query) =
            unsafe { ((*root).tuple_fraction, (*root).limit_tuples, &*(*root).parse) };
        let has_limit = !query.limitCount.is_null();
        // SAFETY: it is the planner's.
        if has_limit && limit_tuples < 0.0 && unsafe { consumes_all(query) } {
            return Self::AllBeforeTheFirst;
        }
        let wanted = |rows_wanted: f64| (rows_wanted / kept).clamp(1.0, rows);
        if fraction >= 1.0 {
            let wanted = wanted(fraction);
            Self::Rows { wanted, share: wanted / rows }
        } else if has_limit && fraction > 0.0 {
            // Its value is not known.
            Self::Rows { wanted: wanted(UNKNOWN_LIMIT.min(fraction * rows * kept)), share: fraction }
        } else if fraction > 0.0 {
            // A cursor, of which PostgreSQL expects that a part is fetched.
            Self::Rows { wanted: (fraction * rows).max(1.0), share: fraction }
        } else {
            Self::Rows { wanted: rows, share: 1.0 }
        }
    }
}

/// Whether something between the scan and the LIMIT of `query` reads all rows before it returns one: aggregates, and window
/// functions that look ahead.
///
/// # Safety
/// `query` must be the planner's.
unsafe fn consumes_all(query: &pg_sys::Query) -> bool {
    if query.hasAggs && query.groupClause.is_null() {
        return true;
    }
    if !query.hasWindowFuncs {
        return false;
    }
    // SAFETY: lists of nodes of the kinds that their names say.
    unsafe {
        let looks_ahead = |window: &pg_sys::WindowClause| {
            let ends_here = window.frameOptions as u32 & pg_sys::FRAMEOPTION_END_CURRENT_ROW != 0;
            window.orderClause.is_null() || !window.partitionClause.is_null() || !ends_here
        };
        if members::<pg_sys::WindowClause>(query.windowClause).any(|window| looks_ahead(&*window)) {
            return true;
        }
        let flags = pg_sys::PVC_INCLUDE_WINDOWFUNCS | pg_sys::PVC_RECURSE_AGGREGATES | pg_sys::PVC_RECURSE_PLACEHOLDERS;
        let found = pg_sys::pull_var_clause(query.targetList.cast(), flags as i32);
        members::<pg_sys::Node>(found).any(|node| {
            (*node).type_ == pg_sys::NodeTag::T_WindowFunc
                && needs_the_partition((*node.cast::<pg_sys::WindowFunc>()).winfnoid)
        })
    }
}

/// Whether a window function needs to know how many rows there are, whatever its frame.
fn needs_the_partition(function: pg_sys::Oid) -> bool {
    let counted = [pg_sys::F_NTILE, pg_sys::F_PERCENT_RANK_, pg_sys::F_CUME_DIST_];
    counted.iter().any(|&oid| function == pg_sys::Oid::from(oid))
}

/// What the costs of a scan follow from.
struct Scan {
    /// Rows in the index.
    rows: f64,
    /// The share of them that meet the conditions that the index decides.
    chosen: f64,
    /// Its pages.
    pages: f64,
    /// What a page read from disk costs.
    page_cost: f64,
    /// How often the scan is repeated, for other queries.
    loops: f64,
    /// What the exact distance of a row costs.
    recheck: f64,
}

impl Scan {
    /// The share of pages that have to be read from disk.
    fn cold(&self) -> f64 {
        // SAFETY: reads a setting.
        let cache = f64::from(unsafe { pg_sys::effective_cache_size });
        COLD.max(1.0 - cache / self.pages)
    }

    /// The first search.
    fn search(&self) -> f64 {
        let candidates = options::ef_search() as f64 * NODES_PER_CANDIDATE;
        let mut nodes = (candidates + self.rows.log2().max(1.0) * 4.0).min(self.rows);
        let mut maps = 0.0;
        if self.chosen < 1.0 {
            // Where the index filters it counts what passes, and then looks at as many nodes as these are at most; a search
            // among few looks at some times as many as one among all.
            nodes = (self.rows * self.chosen).min(nodes * (1.0 / self.chosen).min(MOST_FOR_A_FILTER)).max(1.0);
            // SAFETY: reads a setting.
            maps = FILTER * self.page_cost / self.loops.clamp(1.0, 10.0)
                + self.rows * MAPPED * unsafe { pg_sys::cpu_operator_cost };
        }
        // SAFETY: reads settings.
        let cpu = unsafe { pg_sys::cpu_index_tuple_cost + SCORE * pg_sys::cpu_operator_cost };
        let read = (nodes * self.cold()).min(self.pages);
        maps + nodes * cpu + read * self.page_cost / self.loops.clamp(1.0, 10.0)
    }

    /// A pass over all codes.
    fn pass(&self) -> f64 {
        // SAFETY: reads settings.
        let (cpu, page) = unsafe { (SCORE_IN_PASS * pg_sys::cpu_operator_cost, pg_sys::seq_page_cost) };
        self.rows * cpu + self.pages * self.cold() * page
    }

    /// Going on after the first search, until `wanted` rows have been drawn.
    fn run(&self, wanted: f64) -> f64 {
        let recheck = wanted * self.recheck;
        let near = (self.rows * self.chosen / PASS_GAIN / NODES_PER_CANDIDATE).min(options::max_scan_tuples() as f64);
        let near = if options::exact() { 0.0 } else { near.max(options::ef_search() as f64) };
        let by_search = wanted.min(near) * (self.search() / options::ef_search() as f64).min(self.page_cost);
        if wanted <= near {
            return recheck + by_search;
        }
        // SAFETY: reads a setting.
        let room = f64::from(unsafe { pg_sys::work_mem }) * 1024.0 / KEPT;
        recheck + by_search + self.pass() * (1.0 + (wanted - near) / room)
    }
}
