//! From the conditions of a scan to a filter.

use super::arrays::elements;
use super::bound::{CONTAINS, OVERLAPS};
use super::columns::{KeyColumn, KeyColumns};
use super::kind::Kind;
use crate::error::{SqlError, SqlResult};
use pgrx::{PgSqlErrorCode, pg_sys};
use vs_filter::{Filter, Ranges, Test};

/// What a scan filters by.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// The conditions on words.
    pub filter: Filter,
    /// Whether a row whose words pass has to be looked at again.
    pub recheck: bool,
    /// Whether there are conditions at all.
    pub any: bool,
}

/// The conditions of `keys`. Of those on the first column IS NULL and IS NOT NULL are left to whoever looks at the row again;
/// vectors that are NULL have no place in the graph.
///
/// # Safety
/// `keys` must be those of a scan of the index whose columns these are. May raise an error.
pub unsafe fn compile(columns: &KeyColumns, keys: &[pg_sys::ScanKeyData]) -> SqlResult<Conditions> {
    let mut conditions = Conditions::default();
    for key in keys {
        conditions.any = true;
        if key.sk_attno == 1 && key.sk_flags & pg_sys::SK_SEARCHNULL as i32 != 0 {
            conditions.recheck = true;
        }
        let Some(at) = usize::try_from(key.sk_attno).ok().and_then(|number| number.checked_sub(2)) else {
            continue;
        };
        let column = columns.get(at).ok_or_else(unknown)?;
        // SAFETY: PostgreSQL passes an argument of the type that the operator takes.
        let (test, exact) = unsafe { condition(column, key)? };
        conditions.recheck |= !exact;
        conditions.filter.add(at, test);
    }
    Ok(conditions)
}

/// One condition, and whether it is exact.
///
/// # Safety
/// As for [`compile`].
unsafe fn condition(column: &KeyColumn, key: &pg_sys::ScanKeyData) -> SqlResult<(Test, bool)> {
    let is = |flag: u32| key.sk_flags & flag as i32 != 0;
    if is(pg_sys::SK_SEARCHNULL) {
        return Ok((Test::Null, true));
    }
    if is(pg_sys::SK_SEARCHNOTNULL) {
        return Ok((Test::NotNull, true));
    }
    // The operators are strict: nothing compares to NULL.
    if is(pg_sys::SK_ISNULL) {
        return Ok((Test::Within(Ranges::none()), true));
    }
    if is(pg_sys::SK_ROW_HEADER) {
        return Err(unknown());
    }
    // SAFETY: as above; an array of operands has the operand's type for its elements'.
    unsafe {
        if column.kind == Kind::Array {
            return array_condition(column, key).map(|test| (test, false));
        }
        if is(pg_sys::SK_SEARCHARRAY) {
            let (operands, of) = elements(key.sk_argument);
            let bounds = operands.into_iter().flatten().map(|operand| column.bound(key.sk_strategy, of, operand));
            let bounds: Vec<_> = bounds.collect();
            let exact = bounds.iter().all(|(_, exact)| *exact);
            return Ok((Test::Within(Ranges::union(bounds.into_iter().map(|(ranges, _)| ranges))), exact));
        }
        let (ranges, exact) = column.bound(key.sk_strategy, key.sk_subtype, key.sk_argument);
        Ok((Test::Within(ranges), exact))
    }
}

/// A condition on an array.
///
/// # Safety
/// As for [`compile`].
unsafe fn array_condition(column: &KeyColumn, key: &pg_sys::ScanKeyData) -> SqlResult<Test> {
    // SAFETY: as above.
    let words = unsafe { column.element_words(key.sk_argument) };
    match key.sk_strategy {
        OVERLAPS => Ok(Test::Covers(words.into_iter().flatten().collect())),
        // No array contains a NULL: NULL is equal to nothing.
        CONTAINS => Ok(match words.into_iter().collect::<Option<Vec<u64>>>() {
            Some(words) => Test::Covers(vec![words.into_iter().fold(0, |all, bits| all | bits)]),
            None => Test::Within(Ranges::none()),
        }),
        _ => Err(unknown()),
    }
}

fn unknown() -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, "vs_hnsw index cannot be scanned by such a condition")
}
