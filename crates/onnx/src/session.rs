//! One network in ONNX Runtime: made from bytes, fed with tensors, its single output read as `f32`.
//!
//! Every call into ONNX Runtime of this crate is here or in [`runtime`](crate::runtime), and each ends in a `Result`.
//!
//! **Threads.** With one thread (the default) ONNX Runtime makes none and computes on the caller's. With more, its pool
//! lives as long as the session, so threads start when the session is made: under [`SignalsBlocked`], and told to sleep
//! rather than spin between operators. Ending the session joins them, which is what [`stop`] does for every session of
//! the process. One session of ONNX Runtime is never run by two threads at a time: `ort` found that not to be safe, so
//! a network that is to be run side by side has several.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use half::{bf16, f16};
use ort::{
    ep::{self, ExecutionProvider as _},
    logging::LogLevel,
    session::{
        SessionInputValue,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType},
};

use crate::{
    error::{Error, ErrorKind, Result, reserve},
    graph::Graph,
    runtime::{Runtime, guarded, ort_message},
    signals::SignalsBlocked,
    trap::{Fault, trapped},
};

/// What an arithmetic fault is called. An integer divided by zero is ONNX Runtime's own error.
const FAULT: &str = "an integer division in it overflowed";

/// Values one output tensor may have: a batch of the largest feature maps in use, 1 GiB as `f32`.
const MAX_OUTPUT: usize = 1 << 28;

/// Where a network is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, where the ONNX Runtime library supports it.
    Cuda,
}

impl Provider {
    /// The name used in settings and descriptions.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
        }
    }
}

/// How networks are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that may compute at a time. Networks with small weights are run side by side by as many threads of the
    /// caller, see [`Model::runs_at_a_time`](crate::Model::runs_at_a_time); a run of a larger one is spread over ONNX
    /// Runtime's threads and the caller's. 1 makes no thread; more are clamped to 64.
    pub threads: usize,
    /// Weights of up to this many bytes are small: each thread may have a copy.
    pub small: u64,
    /// Where networks are computed.
    pub provider: Provider,
    /// The most pictures, or texts, that go into one run: it bounds the memory of a run, which the process keeps, and
    /// the time between two opportunities to cancel. At least 1. On a processor, more than a few bring nothing.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: 1, small: 64 << 20, provider: Provider::Cpu, batch: 4 }
    }
}

/// Element types that can be fed or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    U8,
    I32,
    I64,
}

impl Element {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Element::F32 => "f32",
            Element::F16 => "f16",
            Element::U8 => "u8",
            Element::I32 => "i32",
            Element::I64 => "i64",
        }
    }
}

/// A declared input or output.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// The element type as ONNX Runtime names it, and as fed, where it can be.
    pub(crate) type_name: String,
    pub(crate) element: Option<Element>,
    /// Sizes by axis; negative where the graph leaves them open. Nothing if it is no tensor.
    pub(crate) shape: Option<Vec<i64>>,
}

impl Port {
    fn of(outlet: &Outlet) -> Self {
        let (type_name, element, shape) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => {
                let element = match ty {
                    TensorElementType::Float32 => Some(Element::F32),
                    TensorElementType::Float16 => Some(Element::F16),
                    TensorElementType::Uint8 => Some(Element::U8),
                    TensorElementType::Int32 => Some(Element::I32),
                    TensorElementType::Int64 => Some(Element::I64),
                    _ => None,
                };
                (ty.to_string(), element, Some(shape.to_vec()))
            }
            other => (other.to_string(), None, None),
        };
        Port { name: outlet.name().to_owned(), type_name, element, shape }
    }
}

/// Values to feed, row-major.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    U8(&'a [u8]),
    I32(&'a [i32]),
    I64(&'a [i64]),
}

/// One tensor to feed.
pub(crate) struct Feed<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: Vec<i64>,
    pub(crate) values: Values<'a>,
}

/// The output of one run.
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

type Slot = Mutex<Option<ort::session::Session>>;

/// Every session that may still have threads.
static LIVE: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Ends every session of the process that is at rest, and joins its threads; whatever is run or loaded afterwards fails
/// with [`ErrorKind::Cancelled`]. For a host that is about to exit without unwinding. The environment and the library stay
/// loaded. Waits for nothing: a run that is under way may be one that the host has jumped out of, and would never end.
pub fn stop() {
    STOPPED.store(true, Ordering::SeqCst);
    let live = match LIVE.try_lock() {
        Ok(mut live) => std::mem::take(&mut *live),
        Err(TryLockError::Poisoned(live)) => std::mem::take(&mut *live.into_inner()),
        Err(TryLockError::WouldBlock) => return,
    };
    for session in live.iter().filter_map(Weak::upgrade) {
        match session.try_lock() {
            Ok(mut session) => drop(session.take()),
            Err(TryLockError::Poisoned(session)) => drop(session.into_inner().take()),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A network that is loaded and ready to run.
pub(crate) struct Session {
    /// As many as may run at a time; at least one.
    slots: RwLock<Vec<Arc<Slot>>>,
    provider: Provider,
    /// ONNX Runtime makes no threads to run it.
    alone: bool,
    /// A run ended in an arithmetic fault, and its session was given up.
    faulted: AtomicBool,
    /// What comes of an item depends on the others of its batch.
    mixes_items: bool,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Session {
    /// Makes a session from the bytes of an ONNX file, which `graph` is a view of, with that many threads for each run.
    /// `external` are the files its weights are in, by the names it gives them.
    pub(crate) fn open(
        runtime: &Runtime,
        model: &[u8],
        graph: &Graph<'_>,
        external: Vec<(String, Arc<[u8]>)>,
        provider: Provider,
        threads: usize,
    ) -> Result<Self> {
        refuse_if_stopped()?;
        let _blocked = block_signals()?;
        let with_provider = with_provider(runtime, provider)?;
        let alone = threads == 1;
        let made = trapped(alone, || {
            guarded(|| {
                let message = |error: &dyn std::fmt::Display| ort_message(error);
                let mut builder = with_provider;
                builder = builder.with_log_level(LogLevel::Fatal).map_err(|error| message(&error))?;
                builder = builder.with_intra_threads(threads).map_err(|error| message(&error))?;
                builder = builder.with_inter_threads(1).map_err(|error| message(&error))?;
                builder = builder.with_parallel_execution(false).map_err(|error| message(&error))?;
                builder = builder.with_intra_op_spinning(false).map_err(|error| message(&error))?;
                builder = builder.with_inter_op_spinning(false).map_err(|error| message(&error))?;
                builder =
                    builder.with_optimization_level(GraphOptimizationLevel::All).map_err(|error| message(&error))?;
                // Weights are allocated one by one rather than out of the arena for intermediate results, which would
                // round their total up to a power of two.
                builder = builder.with_device_allocated_initializers().map_err(|error| message(&error))?;
                for (name, bytes) in external {
                    let added = builder.with_external_initializer_file_in_memory(Path::new(&name), bytes);
                    builder = added.map_err(|error| message(&error))?;
                }
                builder.commit_from_memory(model).map_err(|error| message(&error))
            })
        });
        let session =
            made.unwrap_or_else(|Fault| Err(FAULT.to_owned())).map_err(|reason| match cuda_reason(&reason) {
                // The device is first spoken to here.
                Some(lacking) if provider == Provider::Cuda => cuda_cannot_start(lacking),
                _ => Error::invalid(format!("ONNX Runtime cannot load it: {reason}")),
            })?;

        let inputs = session.inputs().iter().map(Port::of).collect();
        let outputs = session.outputs().iter().map(Port::of).collect();
        let slot = Arc::new(Mutex::new(Some(session)));
        let mut live = lock(&LIVE);
        live.retain(|session| session.strong_count() > 0);
        live.push(Arc::downgrade(&slot));
        Ok(Session {
            slots: RwLock::new(vec![slot]),
            alone,
            faulted: AtomicBool::new(false),
            provider,
            mixes_items: graph.mixes_items(),
            inputs,
            outputs,
        })
    }

    /// Takes over another session of the same network, so that one more run can be under way at a time.
    pub(crate) fn absorb(&self, other: Session) {
        let others = other.slots.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.slots.write().unwrap_or_else(PoisonError::into_inner).extend(others);
    }

    /// How many runs can be under way at a time.
    pub(crate) fn room(&self) -> usize {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many of `wanted` items may share a run: one, where each would change the vectors of the others. The vector of a
    /// picture has to be the same whatever it is embedded together with.
    pub(crate) fn batch(&self, wanted: usize) -> usize {
        if self.mixes_items { 1 } else { wanted.max(1) }
    }

    /// Whether a run ended in an arithmetic fault. The session is of no more use then.
    pub(crate) fn has_faulted(&self) -> bool {
        self.faulted.load(Ordering::SeqCst)
    }

    /// The declared inputs.
    pub(crate) fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The declared outputs.
    pub(crate) fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Runs the network and gives its first output. Waits where more threads want to than there is room for.
    pub(crate) fn run(&self, feeds: &[Feed<'_>]) -> Result<Tensor> {
        refuse_if_stopped()?;
        // The CUDA provider makes threads when it first runs.
        let _blocked = if self.provider == Provider::Cpu { None } else { Some(block_signals()?) };
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter().find_map(|slot| match slot.try_lock() {
            Ok(slot) => Some(slot),
            Err(TryLockError::Poisoned(slot)) => Some(slot.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let mut slot = free.unwrap_or_else(|| lock(&slots[0]));
        let Some(session) = slot.as_mut() else { return Err(if self.has_faulted() { faulted() } else { stopped() }) };
        let inputs = feeds.iter().map(|feed| Ok((feed.name, feed.tensor()?))).collect::<Result<Vec<_>>>()?;
        let output = trapped(self.alone, || {
            guarded(|| {
                let outputs = session.run(inputs).map_err(|error| ort_message(&error))?;
                let value = outputs.values().next().ok_or("the network has no output")?;
                Ok(read(&value))
            })
        });
        let Ok(output) = output else {
            // What it was doing is not undone, so it is neither run again nor ended.
            std::mem::forget(slot.take());
            self.faulted.store(true, Ordering::SeqCst);
            return Err(faulted());
        };
        output.map_err(|reason| {
            Error::new(ErrorKind::RunFailed, format!("ONNX Runtime could not run the network: {reason}"))
        })?
    }
}

/// The beginnings of a session: one that computes where `provider` says. What is missing there is no fault of the model.
fn with_provider(runtime: &Runtime, provider: Provider) -> Result<SessionBuilder> {
    let builder =
        guarded(|| ort::session::Session::builder(runtime.environment()).map_err(|error| ort_message(&error)))
            .map_err(|reason| {
                Error::new(ErrorKind::LibraryUnsuitable, format!("ONNX Runtime makes no session: {reason}"))
            })?;
    if provider == Provider::Cpu {
        return Ok(builder);
    }
    // It asks what the library was compiled with.
    if !guarded(|| ep::CUDA::is_available().map_err(|error| ort_message(&error))).unwrap_or(false) {
        return Err(unsuitable(
            "this ONNX Runtime library has no CUDA execution provider".into(),
            "name a library built for CUDA in visual_search.onnxruntime_library and start a new session, as this one \
             keeps the library it has",
        ));
    }
    // Vectors of both providers stand in one column. TF32, on by default, would round the factors of every product of
    // theirs to ten bits.
    let cuda = ep::CUDA::default().with_tf32(false).build().error_on_failure();
    // This looks for the driver and NVIDIA's libraries.
    guarded(|| builder.with_execution_providers([cuda]).map_err(|error| ort_message(&error)))
        .map_err(|reason| cuda_cannot_start(cuda_reason(&reason).unwrap_or(&reason)))
}

fn unsuitable(message: String, hint: &str) -> Error {
    Error::new(ErrorKind::LibraryUnsuitable, message)
        .with_hint(format!("Set visual_search.execution_provider to cpu, or {hint}."))
}

fn cuda_cannot_start(reason: &str) -> Error {
    unsuitable(
        format!("the CUDA execution provider cannot start: {reason}"),
        "give the server an NVIDIA GPU with its driver, and the CUDA and cuDNN libraries that this ONNX Runtime library \
         was built for",
    )
}

/// What a user can act on, of the message with which a call to CUDA fails: it begins with the C++ function that made the
/// call. Nothing of other messages.
fn cuda_reason(message: &str) -> Option<&str> {
    let reason = &message[message.find("CUDA failure")?..];
    reason.split(" ; ").next()
}

impl<'a> Feed<'a> {
    fn tensor(&self) -> Result<SessionInputValue<'a>> {
        let shape = self.shape.clone();
        let made = guarded(|| {
            match self.values {
                Values::F32(values) => TensorRef::from_array_view((shape, values)).map(SessionInputValue::from),
                Values::F16(values) => TensorRef::from_array_view((shape, values)).map(SessionInputValue::from),
                Values::U8(values) => TensorRef::from_array_view((shape, values)).map(SessionInputValue::from),
                Values::I32(values) => TensorRef::from_array_view((shape, values)).map(SessionInputValue::from),
                Values::I64(values) => TensorRef::from_array_view((shape, values)).map(SessionInputValue::from),
            }
            .map_err(|error| ort_message(&error))
        });
        made.map_err(|reason| Error::new(ErrorKind::RunFailed, format!("could not make an input tensor: {reason}")))
    }
}

/// Copies an output tensor of any floating-point type.
fn read(value: &DynValue) -> Result<Tensor> {
    let bad = |message: String| Error::new(ErrorKind::BadOutput, message);
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(bad(format!("the output is no tensor but {}", value.dtype())));
    };
    let shape: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)).filter(|&len| len <= MAX_OUTPUT);
    let Some(len) = len else {
        return Err(Error::limit(format!("the output has shape {shape:?}, the limit is {MAX_OUTPUT} values")));
    };
    let mut values = reserve(len, "an output tensor")?;
    let failed = |error: ort::Error| bad(format!("could not read the output: {}", ort_message(&error)));
    match ty {
        TensorElementType::Float32 => values.extend_from_slice(value.try_extract_tensor::<f32>().map_err(failed)?.1),
        TensorElementType::Float16 => {
            values.extend(value.try_extract_tensor::<f16>().map_err(failed)?.1.iter().map(|value| value.to_f32()));
        }
        TensorElementType::Bfloat16 => {
            values.extend(value.try_extract_tensor::<bf16>().map_err(failed)?.1.iter().map(|value| value.to_f32()));
        }
        TensorElementType::Float64 => {
            values.extend(value.try_extract_tensor::<f64>().map_err(failed)?.1.iter().map(|&value| value as f32));
        }
        other => {
            return Err(bad(format!("the output has elements of type {other}; floating-point numbers are needed")));
        }
    }
    Ok(Tensor { shape, values })
}

fn block_signals() -> Result<SignalsBlocked> {
    SignalsBlocked::new().map_err(|error| Error::new(ErrorKind::RunFailed, format!("could not block signals: {error}")))
}

fn refuse_if_stopped() -> Result<()> {
    if STOPPED.load(Ordering::SeqCst) { Err(stopped()) } else { Ok(()) }
}

fn faulted() -> Error {
    Error::new(ErrorKind::RunFailed, format!("ONNX Runtime could not run the network: {FAULT}"))
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the process is shutting down, its networks have been stopped")
}

#[cfg(test)]
mod tests {
    use super::cuda_reason;

    #[test]
    fn the_reason_why_cuda_cannot_start_is_what_the_user_reads() {
        // As ONNX Runtime 1.31 reports a driver that sees no device, and a library that is missing.
        let device = "[with ERRTYPE = cudaError; bool THRW = true] /onnxruntime_src/cuda_call.cc:146 void \
                      onnxruntime::CudaCall(ERRTYPE, const char*) [with ERRTYPE = cudaError] CUDA failure 100: no \
                      CUDA-capable device is detected ; GPU=-1 ; hostname=db ; file=/onnxruntime_src/cuda_provider.cc";
        assert_eq!(cuda_reason(device), Some("CUDA failure 100: no CUDA-capable device is detected"));
        let library = "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot \
                       open shared object file: No such file or directory";
        assert_eq!(cuda_reason(library), None);
    }
}
