//! From an operator and a value to the set of words that rows which meet it can have.
//!
//! Sets are exact where words are as fine as values and both sides are of one kind; else they are somewhat too large,
//! and the row is looked at again. Times with a time zone and those without compare by the session's time zone, in
//! which an hour may come twice: there the set is wider by more than any zone's offset.

use super::columns::KeyColumn;
use super::kind::Kind;
use pgrx::pg_sys;
use vs_filter::{Ranges, image};

/// Strategies of the operator classes, numbered as those of a B-tree; arrays have two of their own.
pub const LESS: u16 = 1;
const LESS_EQUAL: u16 = 2;
/// `=`
pub const EQUAL: u16 = 3;
const GREATER_EQUAL: u16 = 4;
/// `>`
const GREATER: u16 = 5;
/// `&&`
pub const OVERLAPS: u16 = 6;
/// `@>`
pub const CONTAINS: u16 = 7;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// More than any two clocks differ by, in days.
const ZONES: i64 = 2;

/// Words, and whether a row that has one of them meets the condition for certain.
pub type Bound = (Ranges, bool);

/// The words between which a value is.
struct Between {
    low: u64,
    high: u64,
    /// Whether it is one value and words are as fine as values.
    exact: bool,
}

impl Between {
    fn exactly(word: u64) -> Self {
        Self { low: word, high: word, exact: true }
    }

    fn bound(&self, strategy: u16) -> Bound {
        let Self { low, high, exact } = *self;
        let ranges = match strategy {
            LESS if exact => Ranges::below(high),
            LESS | LESS_EQUAL => Ranges::between(0, high),
            EQUAL => Ranges::between(low, high),
            GREATER if exact => Ranges::above(low),
            GREATER | GREATER_EQUAL => Ranges::between(low, u64::MAX),
            _ => return (Ranges::all(), false),
        };
        (ranges, exact)
    }
}

impl KeyColumn {
    /// The words that rows with `column strategy value` can have; `of` is the value's type.
    ///
    /// # Safety
    /// `value` must be a datum of type `of`, not null. May raise an error.
    pub unsafe fn bound(&self, strategy: u16, of: pg_sys::Oid, value: pg_sys::Datum) -> Bound {
        // SAFETY: as above.
        unsafe {
            match (self.kind, Kind::of_class(of)) {
                (Kind::Enum, _) => self.labels(strategy, value),
                (Kind::Date, Some(Kind::Timestamp)) => dates_against(strategy, value.value() as i64),
                (Kind::Timestamp, Some(Kind::Date)) => {
                    Between::exactly(image::of_i64(start_of_day(value.value() as i32))).bound(strategy)
                }
                (Kind::TimestampTz, Some(Kind::Date)) => {
                    let mut overflow = 0;
                    let at = pg_sys::date2timestamptz_opt_overflow(value.value() as i32, &mut overflow);
                    Between::exactly(image::of_i64(beyond(at, overflow))).bound(strategy)
                }
                (Kind::TimestampTz, Some(Kind::Timestamp)) => {
                    let mut overflow = 0;
                    let at = pg_sys::timestamp2timestamptz_opt_overflow(value.value() as i64, &mut overflow);
                    Between::exactly(image::of_i64(beyond(at, overflow))).bound(strategy)
                }
                (Kind::Timestamp, Some(Kind::TimestampTz)) => {
                    let at = value.value() as i64;
                    let (low, high) =
                        (at.saturating_sub(ZONES * MICROS_PER_DAY), at.saturating_add(ZONES * MICROS_PER_DAY));
                    Between { low: image::of_i64(low), high: image::of_i64(high), exact: false }.bound(strategy)
                }
                (Kind::Date, Some(Kind::TimestampTz)) => {
                    let (day, _) = day_of(value.value() as i64);
                    let (low, high) = (day.saturating_sub(ZONES), day.saturating_add(ZONES));
                    Between { low: image::of_i64(low), high: image::of_i64(high), exact: false }.bound(strategy)
                }
                // Among integers and among floats the images of all sizes agree.
                (_, Some(theirs)) if theirs.plain(value).is_some() => {
                    let word = theirs.plain(value).unwrap_or(0);
                    Between { low: word, high: word, exact: !self.kind.is_lossy() }.bound(strategy)
                }
                _ => {
                    let word = self.word(value);
                    Between { low: word, high: word, exact: !self.kind.is_lossy() }.bound(strategy)
                }
            }
        }
    }

    /// The OIDs of the labels of an enum that compare to `value` so.
    ///
    /// # Safety
    /// `value` must be a datum of the enum. May raise an error.
    unsafe fn labels(&self, strategy: u16, value: pg_sys::Datum) -> Bound {
        let wanted = value.value() as u32;
        if strategy == EQUAL {
            return (Ranges::one(u64::from(wanted)), true);
        }
        let mut labels: Vec<(u32, f32)> = Vec::new();
        // SAFETY: the list of a type's labels is held while they are read; they are tuples of pg_enum.
        unsafe {
            let list = pg_sys::SearchSysCacheList(
                pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as i32,
                1,
                pg_sys::Datum::from(self.type_oid),
                pg_sys::Datum::null(),
                pg_sys::Datum::null(),
            );
            let members = (*list).members.as_slice((*list).n_members.max(0) as usize);
            for &member in members {
                let form: pg_sys::Form_pg_enum = pg_sys::heap_tuple_get_struct(&raw mut (*member).tuple);
                labels.push(((*form).oid.to_u32(), (*form).enumsortorder));
            }
            pg_sys::ReleaseCatCacheList(list);
        }
        let Some(&(_, at)) = labels.iter().find(|label| label.0 == wanted) else {
            // Not a label any more, or not yet: leave it to the operator.
            return (Ranges::all(), false);
        };
        let meets = |order: f32| match strategy {
            LESS => order < at,
            LESS_EQUAL => order <= at,
            GREATER_EQUAL => order >= at,
            GREATER => order > at,
            _ => true,
        };
        let met = labels.iter().filter(|label| meets(label.1)).map(|label| Ranges::one(u64::from(label.0)));
        (Ranges::union(met), true)
    }
}

/// Dates compared to a time: midnight that day is before all other times of the day.
fn dates_against(strategy: u16, time: i64) -> Bound {
    let (day, rest) = day_of(time);
    let day = image::of_i64(day);
    let midnight = rest == 0;
    let ranges = match strategy {
        LESS if midnight => Ranges::below(day),
        LESS | LESS_EQUAL => Ranges::between(0, day),
        EQUAL if midnight => Ranges::one(day),
        EQUAL => Ranges::none(),
        GREATER_EQUAL if midnight => Ranges::between(day, u64::MAX),
        GREATER | GREATER_EQUAL => Ranges::above(day),
        _ => return (Ranges::all(), false),
    };
    (ranges, true)
}

/// The day of a time and what is over, with infinities as dates have them.
fn day_of(time: i64) -> (i64, i64) {
    match time {
        i64::MIN => (i64::from(i32::MIN), 0),
        i64::MAX => (i64::from(i32::MAX), 0),
        time => (time.div_euclid(MICROS_PER_DAY), time.rem_euclid(MICROS_PER_DAY)),
    }
}

/// Midnight of a date. Dates go on after times have ended: these are between the last time and infinity.
fn start_of_day(date: i32) -> i64 {
    match date {
        i32::MIN => i64::MIN,
        i32::MAX => i64::MAX,
        date => i64::from(date).checked_mul(MICROS_PER_DAY).map_or(i64::MAX - 1, |at| at.min(i64::MAX - 1)),
    }
}

/// A time that PostgreSQL has converted, and whether it was out of the range of times.
fn beyond(at: i64, overflow: i32) -> i64 {
    match overflow {
        0 => at,
        1.. => i64::MAX - 1,
        _ => i64::MIN + 1,
    }
}
