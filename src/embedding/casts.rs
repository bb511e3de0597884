//! Casts between embeddings and number arrays, and to JSON.
//!
//! PostgreSQL's `to_json` and its like use a cast to `json` where a type has one; without, an embedding would come out as
//! a string. With the casts from and to arrays, `embedding::real[]::vector` and back work where another vector extension is installed. An array names
//! no model, so an embedding made from one is untagged, and the way back drops the tag.

use super::io::{check_typmod, dims_out_of_range};
use super::{Embedding, EmbeddingBuf, MAX_DIMS};
use crate::error::{OrRaise, SqlError, SqlResult};
use crate::returned::Returned;
use pgrx::PgSqlErrorCode;
use pgrx::prelude::*;
use std::ffi::CString;

#[pg_extern(sql = false)]
fn array_to_image_embedding(array: NumberArray, typmod: i32, _explicit: bool) -> EmbeddingBuf {
    let elements = array.elements().or_raise();
    check_typmod(elements.len(), typmod).or_raise();
    EmbeddingBuf::from_f64(&elements, 0).or_raise()
}

#[pg_extern(sql = false)]
fn image_embedding_to_real_array(value: Embedding<'_>, _typmod: i32, _explicit: bool) -> Vec<f32> {
    let mut elements = vec![0.0; value.dims()];
    vs_distance::to_f32(value.elements(), &mut elements);
    elements
}

/// The elements as a JSON array; a model's tag has no place in one.
#[pg_extern(sql = false)]
fn image_embedding_to_json(value: Embedding<'_>) -> String {
    super::literal::format(value.elements(), 0)
}

#[pg_extern(sql = false)]
fn image_embedding_to_jsonb(value: Embedding<'_>) -> Returned {
    let text = CString::new(image_embedding_to_json(value)).expect("numbers contain no NUL");
    // SAFETY: jsonb_in takes a C string and returns a jsonb.
    unsafe {
        let jsonb = pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(pg_sys::Datum::from(text.as_ptr()))]);
        Returned::new(jsonb.unwrap_or(pg_sys::Datum::null()))
    }
}

/// An argument that is an array of numbers of any type.
struct NumberArray(pg_sys::Datum);

impl NumberArray {
    /// The elements in double precision, in which all of them but `bigint` and `numeric` are exact.
    fn elements(&self) -> SqlResult<Vec<f64>> {
        // SAFETY: the SQL declares the argument as an array; detoasting makes its header readable. The array's own
        // header states the element type.
        let (array, element_type) = unsafe {
            let array = pg_sys::pg_detoast_datum(self.0.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            (array, (*array).elemtype)
        };
        // SAFETY: `array` is a complete array value.
        let (ndim, has_nulls) = unsafe { ((*array).ndim, pg_sys::array_contains_nulls(array)) };
        if ndim > 1 {
            return Err(SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, "array must be one-dimensional"));
        }
        if has_nulls {
            return Err(SqlError::new(PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED, "array must not contain nulls"));
        }
        let mut datums: *mut pg_sys::Datum = std::ptr::null_mut();
        let mut count = 0;
        // SAFETY: typlen, typbyval and typalign are read from the catalogue for the array's own element type;
        // deconstruct_array then returns `count` palloc'd datums. No nulls, so no null flags are asked for.
        let datums = unsafe {
            let (mut length, mut by_value, mut alignment) = (0, false, 0);
            pg_sys::get_typlenbyvalalign(element_type, &mut length, &mut by_value, &mut alignment);
            pg_sys::deconstruct_array(
                array,
                element_type,
                i32::from(length),
                by_value,
                alignment,
                &mut datums,
                std::ptr::null_mut(),
                &mut count,
            );
            if count <= 0 { &[] } else { std::slice::from_raw_parts(datums, count as usize) }
        };
        if datums.is_empty() || datums.len() > MAX_DIMS {
            return Err(dims_out_of_range(datums.len()));
        }
        datums.iter().map(|&datum| to_f64(datum, element_type)).collect()
    }
}

fn to_f64(datum: pg_sys::Datum, element_type: pg_sys::Oid) -> SqlResult<f64> {
    // SAFETY: the datum came from an array whose element type is `element_type`.
    let number = unsafe {
        match element_type {
            pg_sys::FLOAT4OID => f32::from_datum(datum, false).map(f64::from),
            pg_sys::FLOAT8OID => f64::from_datum(datum, false),
            pg_sys::INT2OID => i16::from_datum(datum, false).map(f64::from),
            // What is rounded here is far out of range.
            pg_sys::INT8OID => i64::from_datum(datum, false).map(|number| number as f64),
            pg_sys::INT4OID => i32::from_datum(datum, false).map(f64::from),
            pg_sys::NUMERICOID => pgrx::direct_function_call::<f64>(pg_sys::numeric_float8_no_overflow, &[Some(datum)]),
            _ => None,
        }
    };
    number.ok_or_else(|| {
        SqlError::new(PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH, "unsupported array element type for image_embedding")
    })
}

mod glue {
    use super::NumberArray;
    use pgrx::callconv::{Arg, ArgAbi};
    use pgrx::pg_sys;
    use pgrx::pgrx_sql_entity_graph::metadata::{
        ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
    };

    impl pgrx::FromDatum for NumberArray {
        unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _typoid: pg_sys::Oid) -> Option<Self> {
            (!is_null).then_some(Self(datum))
        }
    }

    // SAFETY: the SQL declares the argument as an array, and the functions as STRICT.
    unsafe impl<'fcx> ArgAbi<'fcx> for NumberArray {
        unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
            // SAFETY: as for the trait.
            unsafe { arg.unbox_arg_using_from_datum() }.expect("array_to_image_embedding is STRICT")
        }
    }

    // SAFETY: only used as an argument declared by hand in sql/type.sql.
    unsafe impl SqlTranslatable for NumberArray {
        const TYPE_IDENT: &'static str = "visual_search::embedding::casts::NumberArray";
        const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
        const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("anyarray"));
        const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
    }
}
