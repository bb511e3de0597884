//! `avg` and `sum`, in parallel plans too.
//!
//! Both share one transition state: how many embeddings, their tag, and the element-wise sums in double precision. The
//! state is a flat block in the aggregate's memory context, so it needs no destructor; a worker hands it to its leader
//! as the bytes that it is.

use super::operators::{different_dims, merge_tags};
use super::{Embedding, EmbeddingBuf};
use crate::error::{OrRaise, SqlError, SqlResult};
use pgrx::prelude::*;
use pgrx::{Internal, PgSqlErrorCode};
use std::ptr::NonNull;

#[repr(C)]
struct Header {
    count: u64,
    dims: u32,
    tag: u32,
}

/// A transition state: a [`Header`] and its `dims` sums.
struct State(NonNull<Header>);

impl State {
    fn size(dims: usize) -> usize {
        size_of::<Header>() + dims * size_of::<f64>()
    }

    /// A state of nothing, in the aggregate's memory context.
    fn new(fcinfo: pg_sys::FunctionCallInfo, dims: usize, tag: u32) -> SqlResult<Self> {
        let context = in_aggregate(fcinfo)?;
        // SAFETY: the context lives as long as the aggregate's group.
        Ok(unsafe { Self::new_in(context, dims, tag) })
    }

    /// A state of nothing.
    ///
    /// # Safety
    /// The context must live as long as the state is used.
    unsafe fn new_in(context: pg_sys::MemoryContext, dims: usize, tag: u32) -> Self {
        // SAFETY: the context is the caller's; zeroed memory is a valid state.
        unsafe {
            let state = pg_sys::MemoryContextAllocZero(context, Self::size(dims)).cast::<Header>();
            (*state).dims = dims as u32;
            (*state).tag = tag;
            Self(NonNull::new_unchecked(state))
        }
    }

    /// The state that an earlier call returned, if any.
    fn from_argument(state: Internal) -> Option<Self> {
        // SAFETY: the only values of type internal that reach these functions are states made by `new`.
        NonNull::new(state.unwrap()?.cast_mut_ptr()).map(Self)
    }

    fn into_internal(self) -> Internal {
        // SAFETY: the datum is the pointer that `from_argument` reads back.
        unsafe { Internal::from_datum(pg_sys::Datum::from(self.0.as_ptr()), false) }.expect("not null")
    }

    fn header(&mut self) -> &mut Header {
        // SAFETY: made by `new`, and only one State at a time exists for a block.
        unsafe { self.0.as_mut() }
    }

    fn sums(&mut self) -> &mut [f64] {
        let dims = self.header().dims as usize;
        // SAFETY: `new` allocated and zeroed dims sums after the header, whose size keeps them aligned.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr().add(1).cast::<f64>(), dims) }
    }

    fn bytes(&mut self) -> &[u8] {
        let size = Self::size(self.header().dims as usize);
        // SAFETY: header and sums are one block without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>(), size) }
    }

    /// Checks that `dims` and `tag` fit what has been added so far and takes the tag over.
    fn admit(&mut self, dims: usize, tag: u32) -> SqlResult<()> {
        let header = self.header();
        if header.dims as usize != dims {
            return Err(different_dims(header.dims as usize, dims));
        }
        header.tag = merge_tags(header.tag, tag)?;
        Ok(())
    }
}

/// The aggregate's memory context.
fn in_aggregate(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<pg_sys::MemoryContext> {
    let mut context = std::ptr::null_mut();
    // SAFETY: fcinfo is that of the running function.
    if unsafe { pg_sys::AggCheckCallContext(fcinfo, &mut context) } == 0 {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "aggregate support function called in non-aggregate context",
        ));
    }
    Ok(context)
}

#[pg_extern(sql = false)]
fn image_embedding_accum(
    state: Option<Internal>,
    value: Option<Embedding<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Option<Internal> {
    let earlier = state.and_then(State::from_argument);
    let Some(value) = value else { return earlier.map(State::into_internal) };
    let mut state = match earlier {
        Some(mut state) => {
            state.admit(value.dims(), value.tag()).or_raise();
            state
        }
        None => State::new(fcinfo, value.dims(), value.tag()).or_raise(),
    };
    state.header().count += 1;
    for (sum, element) in state.sums().iter_mut().zip(value.elements()) {
        *sum += f64::from(element.to_f32());
    }
    Some(state.into_internal())
}

#[pg_extern(sql = false)]
fn image_embedding_combine(
    into: Option<Internal>,
    from: Option<Internal>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Option<Internal> {
    let into = into.and_then(State::from_argument);
    let Some(mut from) = from.and_then(State::from_argument) else { return into.map(State::into_internal) };
    let (dims, tag) = (from.header().dims as usize, from.header().tag);
    let mut into = match into {
        Some(mut into) => {
            into.admit(dims, tag).or_raise();
            into
        }
        None => State::new(fcinfo, dims, tag).or_raise(),
    };
    into.header().count += from.header().count;
    for (sum, more) in into.sums().iter_mut().zip(from.sums()) {
        *sum += *more;
    }
    Some(into.into_internal())
}

#[pg_extern(sql = false)]
fn image_embedding_serialize(state: Internal) -> Option<Vec<u8>> {
    State::from_argument(state).map(|mut state| state.bytes().to_vec())
}

#[pg_extern(sql = false)]
fn image_embedding_deserialize(bytes: &[u8], _unused: Internal, fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    read_state(bytes, fcinfo).or_raise().into_internal()
}

/// Reads what [`image_embedding_serialize`] wrote in another process of the same server.
fn read_state(bytes: &[u8], fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<State> {
    let corrupt = || SqlError::new(PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, "invalid image_embedding aggregate state");
    let (count, rest) = bytes.split_first_chunk::<8>().ok_or_else(corrupt)?;
    let (dims, rest) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
    let (tag, sums) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
    let dims = u32::from_ne_bytes(*dims) as usize;
    if dims == 0 || dims > super::MAX_DIMS || bytes.len() != State::size(dims) {
        return Err(corrupt());
    }
    in_aggregate(fcinfo)?;
    // SAFETY: what is read is combined with another state at once, which copies it; then the context is reset.
    let mut state = unsafe { State::new_in(pg_sys::CurrentMemoryContext, dims, u32::from_ne_bytes(*tag)) };
    state.header().count = u64::from_ne_bytes(*count);
    for (sum, bytes) in state.sums().iter_mut().zip(sums.as_chunks::<8>().0) {
        *sum = f64::from_ne_bytes(*bytes);
    }
    Ok(state)
}

#[pg_extern(sql = false)]
fn image_embedding_avg_final(state: Option<Internal>) -> Option<EmbeddingBuf> {
    let mut state = state.and_then(State::from_argument)?;
    let (count, tag) = (state.header().count as f64, state.header().tag);
    let means: Vec<f64> = state.sums().iter().map(|sum| sum / count).collect();
    Some(EmbeddingBuf::rounded(&means, tag).or_raise())
}

#[pg_extern(sql = false)]
fn image_embedding_sum_final(state: Option<Internal>) -> Option<Vec<f64>> {
    let mut state = state.and_then(State::from_argument)?;
    Some(state.sums().to_vec())
}
