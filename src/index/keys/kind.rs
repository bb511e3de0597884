//! The kinds of key columns.

use pgrx::pg_sys;
use vs_filter::{Coarse, Cuts, MAX_COLUMNS, image};

/// What a key column holds. The numbers are kept on the metapage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `boolean`.
    Bool = 1,
    /// `smallint`.
    Int2 = 2,
    /// `integer`.
    Int4 = 3,
    /// `bigint`.
    Int8 = 4,
    /// `real`.
    Float4 = 5,
    /// `double precision`.
    Float8 = 6,
    /// `numeric`: the nearest floating-point number.
    Numeric = 7,
    /// `date`: days.
    Date = 8,
    /// `time`: microseconds.
    Time = 9,
    /// `timestamp`: microseconds.
    Timestamp = 10,
    /// `timestamptz`: microseconds.
    TimestampTz = 11,
    /// `uuid`: its first half.
    Uuid = 12,
    /// `oid`.
    Oid = 13,
    /// An enum: the OID of its label, which is not in the order of labels.
    Enum = 14,
    /// `text` and `varchar`: a hash.
    Text = 15,
    /// `char(n)`: a hash.
    Bpchar = 16,
    /// An array of anything with a hash: a Bloom word of its elements.
    Array = 17,
}

impl Kind {
    const ALL: [Self; 17] = [
        Self::Bool,
        Self::Int2,
        Self::Int4,
        Self::Int8,
        Self::Float4,
        Self::Float8,
        Self::Numeric,
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::TimestampTz,
        Self::Uuid,
        Self::Oid,
        Self::Enum,
        Self::Text,
        Self::Bpchar,
        Self::Array,
    ];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == number)
    }

    /// The kind that an operator class for this type stands for.
    pub fn of_class(input: pg_sys::Oid) -> Option<Self> {
        Some(match input {
            pg_sys::BOOLOID => Self::Bool,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID => Self::Float4,
            pg_sys::FLOAT8OID => Self::Float8,
            pg_sys::NUMERICOID => Self::Numeric,
            pg_sys::DATEOID => Self::Date,
            pg_sys::TIMEOID => Self::Time,
            pg_sys::TIMESTAMPOID => Self::Timestamp,
            pg_sys::TIMESTAMPTZOID => Self::TimestampTz,
            pg_sys::UUIDOID => Self::Uuid,
            pg_sys::OIDOID => Self::Oid,
            pg_sys::ANYENUMOID => Self::Enum,
            pg_sys::TEXTOID => Self::Text,
            pg_sys::BPCHAROID => Self::Bpchar,
            pg_sys::ANYARRAYOID => Self::Array,
            _ => return None,
        })
    }

    /// Whether words keep the order of values.
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Enum | Self::Text | Self::Bpchar | Self::Array)
    }

    /// Whether different values may have the same word, so that a row whose word meets a condition need not.
    pub fn is_lossy(self) -> bool {
        matches!(self, Self::Numeric | Self::Uuid | Self::Text | Self::Bpchar | Self::Array)
    }

    /// How the bytes beside neighbours' numbers are made, if these are the cuts.
    pub fn coarse(self, cuts: Cuts) -> Coarse {
        match self {
            Self::Array => Coarse::Bloom,
            _ if self.is_ordered() && !cuts.words().is_empty() => Coarse::Buckets(cuts),
            _ => Coarse::Hash,
        }
    }

    /// The word of a value of a fixed size. `None` for kinds whose words take a function call.
    ///
    /// # Safety
    /// `value` must be a datum of this kind, not null.
    #[inline]
    pub unsafe fn plain(self, value: pg_sys::Datum) -> Option<u64> {
        let bits = value.value() as u64;
        Some(match self {
            Self::Bool => u64::from(bits as u8 != 0),
            Self::Int2 => image::of_i64(i64::from(bits as i16)),
            Self::Int4 | Self::Date => image::of_i64(i64::from(bits as i32)),
            Self::Int8 | Self::Time | Self::Timestamp | Self::TimestampTz => image::of_i64(bits as i64),
            Self::Float4 => image::of_f64(f64::from(f32::from_bits(bits as u32))),
            Self::Float8 => image::of_f64(f64::from_bits(bits)),
            Self::Oid | Self::Enum => u64::from(bits as u32),
            // SAFETY: the datum points to the sixteen bytes of a uuid, which is never compressed or moved out of line.
            Self::Uuid => image::of_prefix(unsafe { &*value.cast_mut_ptr::<[u8; 16]>() }),
            Self::Numeric | Self::Text | Self::Bpchar | Self::Array => return None,
        })
    }
}

/// The kinds of an index's key columns, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    count: u8,
    numbers: [u8; MAX_COLUMNS],
}

impl Kinds {
    /// No key columns.
    pub const NONE: Self = Self { count: 0, numbers: [0; MAX_COLUMNS] };

    /// Those of an index.
    pub fn new(kinds: impl Iterator<Item = Kind>) -> Self {
        let mut all = Self::NONE;
        for (number, kind) in all.numbers.iter_mut().zip(kinds) {
            *number = kind as u8;
            all.count += 1;
        }
        all
    }

    /// As they were stored: their number, and a byte for each. `None` if no index has such.
    pub fn stored(count: u8, numbers: &[u8]) -> Option<Self> {
        let used = numbers.get(..usize::from(count))?;
        let kinds = used.iter().map(|&number| Kind::from_number(number)).collect::<Option<Vec<_>>>()?;
        Some(Self::new(kinds.into_iter()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Their numbers, of which the first [`len`](Self::len) count.
    pub fn numbers(&self) -> &[u8; MAX_COLUMNS] {
        &self.numbers
    }

    /// Them.
    pub fn iter(&self) -> impl Iterator<Item = Kind> + '_ {
        self.numbers[..self.len()].iter().filter_map(|&number| Kind::from_number(number))
    }
}
