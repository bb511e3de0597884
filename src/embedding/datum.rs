//! The datum: a varlena of
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | varlena length word |
//! | 4 | 2 | `dims`, 1 to 16,000 |
//! | 6 | 2 | `flags`, 0 |
//! | 8 | 4 | `tag` of the model, 0 = untagged |
//! | 12 | 2 × dims | elements, IEEE 754 binary16 |
//!
//! in the machine's byte order, like every on-disk type of PostgreSQL's own (the supported platforms are little
//! endian). The type's alignment is 4, so elements are aligned when, and only when, the value has its 4-byte length
//! word. A stored value may have a 1-byte one, or be compressed or moved out of line: [`Embedding`] always detoasts
//! fully, never reads the packed form, and frees the copy when it goes.

use super::io;
use crate::error::{SqlError, SqlResult};
use half::f16;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, PgSqlErrorCode, pg_sys, set_varsize_4b};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The largest number of dimensions: with it a value takes 32 kB, and a dimension number fits in 16 bits.
pub const MAX_DIMS: usize = 16_000;

/// Where the elements begin, in bytes from the start of the varlena.
pub(super) const ELEMENTS_OFFSET: usize = 12;

#[repr(C)]
struct Header {
    length_word: [u8; 4],
    dims: u16,
    flags: u16,
    tag: u32,
}

const _: () = assert!(size_of::<Header>() == ELEMENTS_OFFSET && align_of::<Header>() == 4);
const _: () = assert!(cfg!(target_endian = "little"));

/// Bytes of a value with `dims` elements, length word included.
const fn size_of_value(dims: usize) -> usize {
    ELEMENTS_OFFSET + dims * size_of::<f16>()
}

/// An embedding passed in by PostgreSQL, detoasted and checked.
pub struct Embedding<'a> {
    header: NonNull<Header>,
    /// Whether detoasting made a copy that is ours to free.
    copied: bool,
    _source: PhantomData<&'a Header>,
}

impl<'a> Embedding<'a> {
    /// Reads a datum of type `image_embedding`.
    ///
    /// # Errors
    /// `data_corrupted` if the value's length and its number of dimensions do not agree.
    ///
    /// # Safety
    /// `datum` must be a non-null datum of type `image_embedding` that stays valid for `'a`.
    pub unsafe fn read(datum: pg_sys::Datum) -> SqlResult<Self> {
        let original: *mut pg_sys::varlena = datum.cast_mut_ptr();
        // SAFETY: the caller passes a valid varlena; pg_detoast_datum returns it or a palloc'd copy with a 4-byte
        // length word, whose alignment is that of palloc (8) or of the type (4).
        let (value, size) = unsafe {
            let value = if pgrx::varatt_is_4b_u(original) { original } else { pg_sys::pg_detoast_datum(original) };
            (value, pgrx::varsize_4b(value))
        };
        let header = NonNull::new(value.cast::<Header>()).ok_or_else(|| {
            SqlError::new(PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, "image_embedding is a null pointer")
        })?;
        let embedding = Self { header, copied: value != original, _source: PhantomData };
        // SAFETY: the first `size` bytes are readable, and the header is read only where it lies within them.
        let sound = size >= ELEMENTS_OFFSET
            && unsafe { header.as_ref() }.dims as usize <= MAX_DIMS
            && unsafe { header.as_ref() }.dims > 0
            && size == size_of_value(unsafe { header.as_ref() }.dims as usize);
        if !sound {
            return Err(SqlError::new(
                PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                format!("invalid image_embedding of {size} bytes"),
            ));
        }
        Ok(embedding)
    }

    /// The length and the tag of a datum of type `image_embedding`, of which no more is fetched than they take.
    ///
    /// # Errors
    /// `data_corrupted` if the value is too short to have them.
    ///
    /// # Safety
    /// `datum` must be a non-null datum of type `image_embedding`.
    pub unsafe fn length_and_tag(datum: pg_sys::Datum) -> SqlResult<(usize, u32)> {
        const LENGTH_WORD: usize = size_of::<i32>();
        let wanted = size_of::<Header>() - LENGTH_WORD;
        // SAFETY: the caller passes a valid varlena; the slice is a palloc'd copy with a 4-byte length word, aligned to 8,
        // whose header is read only if all of it is there.
        unsafe {
            let slice = pg_sys::pg_detoast_datum_slice(datum.cast_mut_ptr(), 0, wanted as i32);
            let size = pgrx::varsize_4b(slice);
            let read =
                (size >= size_of::<Header>()).then(|| &*slice.cast::<Header>()).map(|h| (h.dims as usize, h.tag));
            pg_sys::pfree(slice.cast());
            read.ok_or_else(|| {
                SqlError::new(
                    PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                    format!("invalid image_embedding of {size} bytes"),
                )
            })
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: checked on construction to point at a whole header that lives for 'a or is our own copy.
        unsafe { self.header.as_ref() }
    }

    /// Number of dimensions, 1 to [`MAX_DIMS`].
    pub fn dims(&self) -> usize {
        self.header().dims as usize
    }

    /// Tag of the model that made it, 0 if untagged.
    pub fn tag(&self) -> u32 {
        self.header().tag
    }

    /// The elements.
    pub fn elements(&self) -> &[f16] {
        // SAFETY: `read` checked that dims elements follow the header; offset 12 of a 4-byte aligned value is aligned.
        unsafe {
            let first = self.header.as_ptr().cast::<u8>().add(ELEMENTS_OFFSET).cast::<f16>();
            std::slice::from_raw_parts(first, self.dims())
        }
    }
}

impl Drop for Embedding<'_> {
    fn drop(&mut self) {
        if self.copied {
            // SAFETY: detoasting palloc'd this copy, nobody else holds it, and pfree does not raise on valid chunks.
            unsafe { pg_sys::pfree(self.header.as_ptr().cast()) }
        }
    }
}

/// A new value under construction, allocated in the current memory context, which also frees it.
pub struct EmbeddingBuf {
    header: NonNull<Header>,
}

impl EmbeddingBuf {
    /// A value of `dims` zeros with the given tag.
    ///
    /// # Errors
    /// [`io::dims_out_of_range`] unless `dims` is 1 to [`MAX_DIMS`].
    pub fn zeros(dims: usize, tag: u32) -> SqlResult<Self> {
        if dims == 0 || dims > MAX_DIMS {
            return Err(io::dims_out_of_range(dims));
        }
        let size = size_of_value(dims);
        // SAFETY: palloc0 returns `size` zeroed bytes aligned to 8 or raises; size is at most 32,012, so the casts to
        // i32 and u16 hold. Zero is a valid bit pattern for every field and for f16.
        unsafe {
            let value = pg_sys::palloc0(size);
            set_varsize_4b(value.cast(), size as i32);
            let mut header = NonNull::new_unchecked(value.cast::<Header>());
            header.as_mut().dims = dims as u16;
            header.as_mut().tag = tag;
            Ok(Self { header })
        }
    }

    /// A value that holds these elements, all of which must be finite.
    pub fn from_elements(elements: &[f16], tag: u32) -> SqlResult<Self> {
        let mut value = Self::zeros(elements.len(), tag)?;
        value.elements_mut().copy_from_slice(elements);
        Ok(value)
    }

    /// A value rounded from single precision.
    ///
    /// # Errors
    /// `numeric_value_out_of_range` with the position of the first element that is not a number, infinite, or beyond
    /// half precision, and for a vector that is not zero but would be.
    pub fn from_f32(elements: &[f32], tag: u32) -> SqlResult<Self> {
        let mut value = Self::zeros(elements.len(), tag)?;
        vs_distance::from_f32(elements, value.elements_mut()).map_err(io::element_out_of_range)?;
        let first = elements.iter().find(|&&element| element != 0.0);
        io::check_vanished(value.elements_mut(), first.map(|&element| io::few_digits(element.into())))?;
        Ok(value)
    }

    /// A value rounded from double precision; errors as for [`EmbeddingBuf::from_f32`].
    pub fn from_f64(elements: &[f64], tag: u32) -> SqlResult<Self> {
        let mut value = Self::rounded(elements, tag)?;
        let first = elements.iter().find(|&&element| element != 0.0);
        io::check_vanished(value.elements_mut(), first.map(|&element| io::few_digits(element)))?;
        Ok(value)
    }

    /// As [`from_f64`](Self::from_f64), for what has been computed: it may be zero, as any difference may.
    pub fn rounded(elements: &[f64], tag: u32) -> SqlResult<Self> {
        let mut value = Self::zeros(elements.len(), tag)?;
        vs_distance::from_f64(elements, value.elements_mut()).map_err(io::element_out_of_range)?;
        Ok(value)
    }

    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        // SAFETY: `zeros` initialised the header.
        unsafe { self.header.as_ref() }.dims as usize
    }

    /// The elements, to be filled in.
    pub fn elements_mut(&mut self) -> &mut [f16] {
        // SAFETY: `zeros` allocated and initialised dims elements after the header, and `self` is the only owner.
        unsafe {
            let first = self.header.as_ptr().cast::<u8>().add(ELEMENTS_OFFSET).cast::<f16>();
            std::slice::from_raw_parts_mut(first, self.dims())
        }
    }

    /// The value as a datum; its memory belongs to the memory context it was made in.
    pub fn into_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.header.as_ptr())
    }
}

// What follows lets `#[pg_extern]` functions take and return embeddings. The SQL of every function is written by hand
// under `sql/`; pgrx's generator only needs to know that the type exists.

impl<'a> FromDatum for Embedding<'a> {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _typoid: pg_sys::Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the caller says that the datum is of our type.
        match unsafe { Embedding::read(datum) } {
            Ok(embedding) => Some(embedding),
            Err(error) => error.raise(),
        }
    }
}

// SAFETY: the SQL declares these arguments as image_embedding, which is what `read` expects.
unsafe impl<'fcx> ArgAbi<'fcx> for Embedding<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as for the trait; functions that take a bare Embedding are STRICT.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(|| {
            SqlError::new(PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED, "image_embedding must not be null").raise()
        })
    }
}

// SAFETY: the datum points at a complete image_embedding, which is what the SQL declares as the result.
unsafe impl BoxRet for EmbeddingBuf {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(self.into_datum()) }
    }
}

// SAFETY: both map to the SQL type image_embedding and to nothing else.
unsafe impl SqlTranslatable for Embedding<'_> {
    const TYPE_IDENT: &'static str = "visual_search::embedding::Embedding";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("image_embedding"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
}

// SAFETY: as above.
unsafe impl SqlTranslatable for EmbeddingBuf {
    const TYPE_IDENT: &'static str = "visual_search::embedding::EmbeddingBuf";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::Datum);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::literal("image_embedding")));
}
