//! The trigger function `embed_on_write('photo', 'embedding' [, 'model'])`.
//!
//! Fires before a row is written and puts the embedding of the photo next to it. A photo that an UPDATE leaves as it
//! is is not embedded again: a photo that was not assigned is the same TOAST pointer in the old row and the new one,
//! and only if the pointers differ are the bytes compared.

use super::functions::embed;
use crate::embedding::io::check_typmod;
use crate::error::{OrRaise, SqlError, SqlResult};
use crate::returned::Returned;
use crate::settings;
use pgrx::prelude::*;
use pgrx::{PgSqlErrorCode, PgTupleDesc};
use std::ffi::CStr;

#[pg_extern(sql = false)]
fn embed_on_write(fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    // SAFETY: fcinfo is that of the running function.
    let call = unsafe { Call::new(fcinfo) }.or_raise();
    let tuple = call.run().or_raise();
    // SAFETY: a trigger function returns a tuple of its relation.
    unsafe { Returned::new(pg_sys::Datum::from(tuple)) }
}

/// A column that an argument names.
struct Column {
    name: String,
    number: i32,
    type_oid: pg_sys::Oid,
    typmod: i32,
    generated: bool,
}

/// One firing of the trigger.
struct Call {
    descriptor: pg_sys::TupleDesc,
    /// The row before an UPDATE.
    old: Option<pg_sys::HeapTuple>,
    /// The row to be written.
    new: pg_sys::HeapTuple,
    photo: Column,
    embedding: Column,
    model: String,
}

fn protocol(message: &str) -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED, format!("embed_on_write: {message}")).hint(
        "Use CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION \
         embed_on_write('photo_column', 'embedding_column').",
    )
}

impl Call {
    /// Checks how the trigger was defined.
    ///
    /// # Safety
    /// `fcinfo` must be that of the running function.
    unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Self> {
        // SAFETY: called_as_trigger checks that the context is a TriggerData, all of whose fields the trigger manager
        // has filled in; the tuples and the relation live as long as the call.
        unsafe {
            if !pgrx::trigger_support::called_as_trigger(fcinfo) {
                return Err(protocol("not called by trigger manager"));
            }
            let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
            let event = (*data).tg_event;
            if !pgrx::trigger_support::trigger_fired_for_row(event) {
                return Err(protocol("must be fired for each row"));
            }
            if !pgrx::trigger_support::trigger_fired_before(event) {
                return Err(protocol("must be fired before the event"));
            }
            let (old, new) = if pgrx::trigger_support::trigger_fired_by_insert(event) {
                (None, (*data).tg_trigtuple)
            } else if pgrx::trigger_support::trigger_fired_by_update(event) {
                (Some((*data).tg_trigtuple), (*data).tg_newtuple)
            } else {
                return Err(protocol("must be fired by INSERT or UPDATE"));
            };
            let trigger = (*data).tg_trigger;
            let count = usize::try_from((*trigger).tgnargs).unwrap_or(0);
            if count != 2 && count != 3 {
                return Err(protocol(&format!("expected 2 or 3 arguments, not {count}")));
            }
            let argument = |i: usize| CStr::from_ptr(*(*trigger).tgargs.add(i));
            let descriptor = (*(*data).tg_relation).rd_att;
            let photo = column(descriptor, argument(0))?;
            if pg_sys::getBaseType(photo.type_oid) != pg_sys::BYTEAOID {
                return Err(wrong_type(&photo, "bytea"));
            }
            let embedding = column(descriptor, argument(1))?;
            if Some(embedding.type_oid) != embedding_type((*(*fcinfo).flinfo).fn_oid) {
                return Err(wrong_type(&embedding, "image_embedding"));
            }
            if photo.generated {
                // A trigger that comes before the event sees NULL in it, or what it was before.
                return Err(SqlError::new(
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("embed_on_write: column \"{}\" is a generated column", photo.name),
                )
                .detail("It is computed after the trigger has run.")
                .hint("Make the embedding a generated column, too: embed_image of the same expression, with a model's name."));
            }
            if embedding.generated {
                return Err(SqlError::new(
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("embed_on_write: column \"{}\" is a generated column", embedding.name),
                )
                .hint("A generated column computes itself; drop the trigger or the generation expression."));
            }
            let model = if count == 3 { argument(2).to_string_lossy().into_owned() } else { settings::default_model() };
            Ok(Self { descriptor, old, new, photo, embedding, model })
        }
    }

    /// The row to write.
    fn run(&self) -> SqlResult<pg_sys::HeapTuple> {
        let photo = self.value(self.new, &self.photo);
        if self.is_up_to_date(photo) {
            return Ok(self.new);
        }
        let embedding = match photo {
            None => None,
            Some(photo) => {
                // SAFETY: the column's base type is bytea.
                let bytes = unsafe { <&[u8]>::from_datum(photo, false) }.unwrap_or_default();
                let value = embed(bytes, &self.model)?;
                check_typmod(value.dims(), self.embedding.typmod)
                    .map_err(|error| error.within(format!("column \"{}\"", self.embedding.name)))?;
                Some(value.into_datum())
            }
        };
        let (mut number, mut null) = (self.embedding.number, embedding.is_none());
        let mut value = embedding.unwrap_or(pg_sys::Datum::null());
        // SAFETY: one column, whose number, value and null flag are given; the value has the column's type.
        Ok(unsafe {
            pg_sys::heap_modify_tuple_by_cols(self.new, self.descriptor, 1, &mut number, &mut value, &mut null)
        })
    }

    /// Whether the row to write already has the embedding of its photo.
    fn is_up_to_date(&self, photo: Option<pg_sys::Datum>) -> bool {
        let embedded = self.value(self.new, &self.embedding).is_some();
        match (photo, self.old) {
            (None, _) => !embedded,
            (Some(_), None) => false,
            (Some(photo), Some(old)) => {
                // An embedding set to NULL asks for a new one.
                embedded && self.value(old, &self.photo).is_some_and(|before| same_bytes(before, photo))
            }
        }
    }

    fn value(&self, tuple: pg_sys::HeapTuple, column: &Column) -> Option<pg_sys::Datum> {
        let mut null = true;
        // SAFETY: the tuple is of the relation that the descriptor describes, and the column exists.
        let value = unsafe { pg_sys::SPI_getbinval(tuple, self.descriptor, column.number, &mut null) };
        (!null).then_some(value)
    }
}

/// Whether two bytea datums are equal, without fetching them if they are the same TOAST pointer.
fn same_bytes(a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: both are bytea; varsize_any is the size of the datum itself, pointer or value.
    unsafe {
        let (pa, pb): (*mut pg_sys::varlena, *mut pg_sys::varlena) = (a.cast_mut_ptr(), b.cast_mut_ptr());
        if pa == pb {
            return true;
        }
        let raw = |p: *mut pg_sys::varlena| std::slice::from_raw_parts(p.cast::<u8>(), pgrx::varsize_any(p));
        if pgrx::varatt_is_1b_e(pa) && pgrx::varatt_is_1b_e(pb) && raw(pa) == raw(pb) {
            return true;
        }
        if pg_sys::toast_raw_datum_size(a) != pg_sys::toast_raw_datum_size(b) {
            return false;
        }
        <&[u8]>::from_datum(a, false) == <&[u8]>::from_datum(b, false)
    }
}

/// Finds a column by name.
///
/// # Safety
/// The descriptor must be that of an open relation.
unsafe fn column(descriptor: pg_sys::TupleDesc, name: &CStr) -> SqlResult<Column> {
    // SAFETY: the name is a C string; the descriptor is the caller's.
    let number = unsafe { pg_sys::SPI_fnumber(descriptor, name.as_ptr()) };
    // For messages alone: it is in the encoding of the database.
    let name = name.to_string_lossy().into_owned();
    // Where a descriptor keeps its attributes differs between versions of PostgreSQL; pgrx knows all of them.
    // SAFETY: the descriptor is that of an open relation, and outlives this wrapper, which leaves it as it is.
    let columns = unsafe { PgTupleDesc::from_pg_unchecked(descriptor) };
    // Zero and less are no column, or one of the system's.
    let Some(column) = usize::try_from(number - 1).ok().and_then(|place| columns.get(place)) else {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!("embed_on_write: column \"{name}\" does not exist"),
        ));
    };
    let (type_oid, typmod, generated) = (column.atttypid, column.atttypmod, column.attgenerated != 0);
    Ok(Column { name, number, type_oid, typmod, generated })
}

fn wrong_type(column: &Column, expected: &str) -> SqlError {
    // SAFETY: format_type_be returns a palloc'd C string for any oid.
    let found = unsafe { CStr::from_ptr(pg_sys::format_type_be(column.type_oid)) };
    SqlError::new(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        format!(
            "embed_on_write: column \"{}\" must be of type {expected}, not {}",
            column.name,
            found.to_string_lossy()
        ),
    )
}

/// The type image_embedding of the extension that the trigger function belongs to: it lies in the same schema.
fn embedding_type(function: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: catalogue look-ups by name and oid, with keys of the cache's types.
    let found = unsafe {
        let schema = pg_sys::get_func_namespace(function);
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(c"image_embedding".as_ptr()),
            pg_sys::Datum::from(schema),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    };
    (found != pg_sys::InvalidOid).then_some(found)
}
