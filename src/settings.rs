//! The extension's settings (GUCs), all under `visual_search.`.
//!
//! Whatever names a path or bounds what hostile input may cost is for superusers (and for those to whom PostgreSQL 15
//! and later `GRANT SET ON PARAMETER`); how one's own session works is for everybody.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use std::ffi::CString;
use vs_onnx::Provider;

/// Where networks are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum ExecutionProvider {
    /// On the processor.
    #[name = c"cpu"]
    Cpu,
    /// On an NVIDIA GPU.
    #[name = c"cuda"]
    Cuda,
}

/// Model used where a function is not told one.
static DEFAULT_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"vs-mini-1"));
/// Folder of model folders; empty means `visual_search/models` under `pg_config --sharedir`.
static MODEL_DIR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
/// ONNX Runtime's shared library; empty means where `make install` puts it, then the system's search path.
static ONNXRUNTIME_LIBRARY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static EXECUTION_PROVIDER: GucSetting<ExecutionProvider> = GucSetting::<ExecutionProvider>::new(ExecutionProvider::Cpu);
static THREADS: GucSetting<i32> = GucSetting::<i32>::new(1);
static MAX_IMAGE_BYTES: GucSetting<i32> = GucSetting::<i32>::new(64 << 20);
static MAX_IMAGE_PIXELS: GucSetting<i32> = GucSetting::<i32>::new(64_000_000);
static CACHE_BYTES: GucSetting<i32> = GucSetting::<i32>::new(16 << 20);

/// Registers all settings and reserves the prefix.
pub fn define() {
    GucRegistry::define_string_guc(
        c"visual_search.default_model",
        c"Sets the model that embed_image, embed_images and embed_text use when they are not told one.",
        c"The view visual_search.models lists the models.",
        &DEFAULT_MODEL,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_string_guc(
        c"visual_search.model_dir",
        c"Sets the directory that holds one folder for each model.",
        c"An empty string means visual_search/models in the server's shared directory.",
        &MODEL_DIR,
        GucContext::Suset,
        GucFlags::SUPERUSER_ONLY | GucFlags::EXPLAIN,
    );
    GucRegistry::define_string_guc(
        c"visual_search.onnxruntime_library",
        c"Sets the path of the ONNX Runtime shared library.",
        c"An empty string means the one installed with the extension, else the one the dynamic linker finds.",
        &ONNXRUNTIME_LIBRARY,
        GucContext::Suset,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_enum_guc(
        c"visual_search.execution_provider",
        c"Sets where networks are computed.",
        c"With cuda, the ONNX Runtime library must be one that is built for it.",
        &EXECUTION_PROVIDER,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_int_guc(
        c"visual_search.threads",
        c"Sets the number of threads that a session uses to decode and embed pictures.",
        c"With 1, no thread is started.",
        &THREADS,
        1,
        64,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"visual_search.max_image_bytes",
        c"Sets the maximum size of a picture as it is stored.",
        c"Larger pictures are refused before they are decoded.",
        &MAX_IMAGE_BYTES,
        1024,
        1 << 30,
        GucContext::Suset,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_int_guc(
        c"visual_search.max_image_pixels",
        c"Sets the maximum number of pixels of a picture.",
        c"Larger pictures are refused when their header has been read.",
        &MAX_IMAGE_PIXELS,
        1,
        1_000_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"visual_search.cache_bytes",
        c"Sets the memory that a session may use to remember recent embeddings.",
        c"With 0, only the most recent embedding is remembered, without its picture.",
        &CACHE_BYTES,
        0,
        1 << 30,
        GucContext::Userset,
        GucFlags::UNIT_BYTE,
    );
    #[cfg(not(feature = "pg14"))]
    // SAFETY: the prefix is a valid C string; called once per process, while the library is loading.
    unsafe {
        pgrx::pg_sys::MarkGUCPrefixReserved(c"visual_search".as_ptr());
    }
}

fn text(setting: &GucSetting<Option<CString>>) -> String {
    setting.get().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `visual_search.default_model`
pub fn default_model() -> String {
    text(&DEFAULT_MODEL)
}

/// `visual_search.model_dir`, empty for the default place.
pub fn model_dir() -> String {
    text(&MODEL_DIR)
}

/// `visual_search.onnxruntime_library`, empty for the default places.
pub fn onnxruntime_library() -> String {
    text(&ONNXRUNTIME_LIBRARY)
}

/// `visual_search.execution_provider`
pub fn execution_provider() -> Provider {
    match EXECUTION_PROVIDER.get() {
        ExecutionProvider::Cpu => Provider::Cpu,
        ExecutionProvider::Cuda => Provider::Cuda,
    }
}

/// `visual_search.threads`, 1 to 64.
pub fn threads() -> usize {
    THREADS.get().max(1) as usize
}

/// `visual_search.max_image_bytes`
pub fn max_image_bytes() -> usize {
    MAX_IMAGE_BYTES.get().max(0) as usize
}

/// `visual_search.max_image_pixels`
pub fn max_image_pixels() -> u64 {
    MAX_IMAGE_PIXELS.get().max(0) as u64
}

/// `visual_search.cache_bytes`
pub fn cache_bytes() -> usize {
    CACHE_BYTES.get().max(0) as usize
}
