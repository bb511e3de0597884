//! The key columns of an open index, and the words of a row.

use super::arrays::{Hashed, elements};
use super::kind::{Kind, Kinds};
use crate::error::{SqlError, SqlResult};
use crate::storage::Index;
use pgrx::{PgMemoryContexts, PgSqlErrorCode, pg_sys};
use vs_filter::{KeysBuf, image};

/// A key column.
#[derive(Debug, Clone, Copy)]
pub struct KeyColumn {
    /// What it holds.
    pub kind: Kind,
    /// Its type.
    pub type_oid: pg_sys::Oid,
    /// Its collation.
    collation: pg_sys::Oid,
    /// The hash of its values, or of the elements of its arrays, where words are made of hashes.
    hashed: Option<Hashed>,
}

impl KeyColumn {
    /// The word of a value.
    ///
    /// # Safety
    /// `value` must be a datum of the column's type, not null. May raise an error, and leave garbage in the current memory
    /// context.
    pub unsafe fn word(&self, value: pg_sys::Datum) -> u64 {
        // SAFETY: as above.
        unsafe {
            match (self.kind.plain(value), self.hashed) {
                (Some(word), _) => word,
                (None, Some(hashed)) if self.kind == Kind::Array => {
                    let (elements, _) = elements(value);
                    let bits = elements.into_iter().flatten().map(|element| self.element(hashed, element));
                    bits.fold(0, |all, bits| all | bits)
                }
                (None, Some(hashed)) => hashed.hash(value, self.collation),
                (None, None) => {
                    let float: Option<f64> =
                        pgrx::direct_function_call(pg_sys::numeric_float8_no_overflow, &[Some(value)]);
                    image::of_f64(float.unwrap_or(f64::NAN))
                }
            }
        }
    }

    /// The bits of the elements of an array that a condition names, `None` for NULL ones.
    ///
    /// # Safety
    /// As for [`word`](Self::word), with an array.
    pub unsafe fn element_words(&self, array: pg_sys::Datum) -> Vec<Option<u64>> {
        let Some(hashed) = self.hashed else { return Vec::new() };
        // SAFETY: as above; the operators of the class take arrays of the column's own type.
        unsafe {
            let (elements, _) = elements(array);
            elements.into_iter().map(|element| element.map(|element| self.element(hashed, element))).collect()
        }
    }

    /// # Safety
    /// As for [`Hashed::hash`].
    unsafe fn element(&self, hashed: Hashed, element: pg_sys::Datum) -> u64 {
        // SAFETY: as above.
        image::of_element(unsafe { hashed.hash(element, self.collation) })
    }

    /// Whether making a word takes memory.
    fn takes_memory(&self) -> bool {
        !matches!(self.kind, Kind::Text | Kind::Bpchar) && self.kind.is_lossy() && self.kind != Kind::Uuid
    }
}

/// The key columns of an index.
pub struct KeyColumns {
    columns: Vec<KeyColumn>,
    words: Vec<Option<u64>>,
    /// Where words are made that take memory.
    memory: Option<PgMemoryContexts>,
}

impl KeyColumns {
    /// Those of `index`.
    ///
    /// # Errors
    /// If a column's operator class is not one for that place.
    pub fn of(index: Index) -> SqlResult<Self> {
        let relation = index.relation();
        let mut columns = Vec::new();
        // SAFETY: the relation is open: its arrays have an entry for each column.
        unsafe {
            let count = usize::from((*(*relation).rd_att).natts.cast_unsigned() as u16);
            for at in 0..count {
                let kind = Kind::of_class(*(*relation).rd_opcintype.add(at));
                let collation = *(*relation).rd_indcollation.add(at);
                let type_oid = column_type(index, at);
                match (at, kind) {
                    (0, None) => {}
                    (0, Some(_)) | (_, None) => return Err(misplaced(index, at)),
                    (_, Some(kind)) => {
                        let hashed = match kind {
                            Kind::Text => Some(pg_sys::TEXTOID),
                            Kind::Bpchar => Some(pg_sys::BPCHAROID),
                            Kind::Array => Some(pg_sys::get_base_element_type(type_oid)),
                            _ => None,
                        };
                        let hashed = hashed.map(Hashed::of).transpose()?;
                        columns.push(KeyColumn { kind, type_oid, collation, hashed });
                    }
                }
            }
        }
        let memory = columns.iter().any(KeyColumn::takes_memory).then(|| PgMemoryContexts::new("vs_hnsw key columns"));
        Ok(Self { columns, words: Vec::new(), memory })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Their kinds.
    pub fn kinds(&self) -> Kinds {
        Kinds::new(self.columns.iter().map(|column| column.kind))
    }

    /// A column.
    pub fn get(&self, column: usize) -> Option<&KeyColumn> {
        self.columns.get(column)
    }

    /// The words of a row, to `keys`.
    ///
    /// # Safety
    /// `values` and `nulls` must be those of a row of the index, the first column's included.
    pub unsafe fn read(&mut self, values: *const pg_sys::Datum, nulls: *const bool, keys: &mut KeysBuf) {
        let Self { columns, words, memory } = self;
        words.clear();
        // SAFETY: PostgreSQL passes as many values as the index has columns. Datums are of the columns' types.
        let mut fill = || unsafe {
            words.extend(columns.iter().enumerate().map(|(at, column)| {
                let at = at + 1;
                (!*nulls.add(at)).then(|| column.word(*values.add(at)))
            }));
        };
        match memory {
            None => fill(),
            // SAFETY: nothing that is kept is made in the context.
            Some(memory) => unsafe {
                memory.switch_to(|_| fill());
                memory.reset();
            },
        }
        keys.set(words.iter().copied());
    }
}

/// How many columns `index` has besides the first.
pub fn count(index: Index) -> usize {
    // SAFETY: the relation is open.
    unsafe { ((*(*index.relation()).rd_att).natts.max(1) - 1) as usize }
}

/// The type of a column of `index`.
fn column_type(index: Index, at: usize) -> pg_sys::Oid {
    let (mut type_oid, mut typmod, mut collation) = (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
    // SAFETY: looks the column up in the catalog and writes to the places given.
    unsafe {
        pg_sys::get_atttypetypmodcoll(index.oid(), at as i16 + 1, &mut type_oid, &mut typmod, &mut collation);
        pg_sys::getBaseType(type_oid)
    }
}

/// The error for a column that cannot be where it is.
fn misplaced(index: Index, at: usize) -> SqlError {
    let error = SqlError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        match at {
            0 => format!("first column of vs_hnsw index \"{}\" is not an embedding", index.name()),
            _ => format!("column {} of vs_hnsw index \"{}\" cannot be used to filter", at + 1, index.name()),
        },
    );
    error.hint("The first column is the embedding to search by; those that follow hold what rows are filtered by.")
}
