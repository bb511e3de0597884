//! Loading the ONNX Runtime library, once per process, without trusting the file.
//!
//! The library's path is a setting, so it may name anything: nothing, a text file, libm, half a download, an ONNX
//! Runtime from years ago. Each must be an error with a hint and leave the process able to try another path. `ort`
//! alone keeps the first library it is given for good and asserts on some of what may go wrong, so the file is looked
//! at first (its ELF headers against its size, then the two functions every ONNX Runtime has), and only one that
//! passes is handed over.
//!
//! The environment is made on the first success and never dropped: ONNX Runtime's destructors must not run while a
//! process exits. Nothing is loaded, and no thread or global state made, before [`Runtime::init`], so a process that
//! forks its workers before that, as the postmaster does, shares nothing with them.
//!
//! **Telemetry.** The published builds of ONNX Runtime since 1.29 report their use to their maker: making an environment
//! starts an uploader thread and writes a cache and a device identifier under the home directory. The API's switch only
//! works on an environment that exists, so it comes too late; what stops all of it is an environment variable, which is
//! therefore set before the library is loaded.

use std::{
    ffi::{CStr, c_char},
    fs::File,
    io::{ErrorKind as IoKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};
use ort::environment::Environment;

use crate::{
    error::{Error, ErrorKind, Result},
    signals::SignalsBlocked,
};

/// The oldest ONNX Runtime that has every function used here: 1.18.
pub const OLDEST_MINOR_VERSION: u32 = ort::sys::ORT_API_VERSION;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// Held while a library is looked at and loaded.
static LOADING: Mutex<()> = Mutex::new(());

/// The loaded ONNX Runtime of this process.
pub struct Runtime {
    path: PathBuf,
    version: String,
    environment: Environment,
}

impl Runtime {
    /// Loads the ONNX Runtime library at `path`, or returns the one that is loaded already, whatever its path: a process
    /// keeps its first. Sets two environment variables, so no other thread may be changing the environment or reading it
    /// by way of C (`getenv`) during the first call. Fails with [`ErrorKind::LibraryMissing`] or [`ErrorKind::LibraryUnsuitable`]; after a failure
    /// another path can be tried.
    pub fn init(path: &Path) -> Result<&'static Runtime> {
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        refuse_telemetry();
        // A library may make threads as soon as it is loaded.
        let _blocked = SignalsBlocked::new()
            .map_err(|error| Error::new(ErrorKind::LibraryUnsuitable, format!("could not block signals: {error}")))?;
        let version = inspect(path)?;
        let environment = guarded(|| {
            // Errors come back as values; nothing is to be written to the host's standard error besides.
            let silent = Arc::new(|_: ort::logging::LogLevel, _: &str, _: &str, _: &str, _: &str| {});
            let builder = ort::init_from(path).map_err(|error| ort_message(&error))?;
            let builder = builder.with_name("visual_search").with_telemetry(false).with_logger(silent);
            let environment = builder.build().map_err(|error| ort_message(&error))?;
            environment.set_log_level(ort::logging::LogLevel::Fatal);
            Ok(environment)
        })
        .map_err(|reason| unsuitable(path, &format!("it did not start: {reason}")))?;
        Ok(RUNTIME.get_or_init(|| Runtime { path: path.to_owned(), version, environment }))
    }

    /// The runtime that is loaded, if one is.
    pub fn get() -> Option<&'static Runtime> {
        RUNTIME.get()
    }

    /// The path it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version as it states it, such as `1.31.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// Runs code that calls ONNX Runtime through `ort`; a panic in it becomes an error message.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result,
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("internal error: {}", text.unwrap_or("unknown")))
        }
    }
}

/// An error's message on one line of bounded length, without the place in ONNX Runtime's source that it may begin with:
/// `/path/file.cc:123 type function(arguments) message`.
pub(crate) fn ort_message(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut line =
        text.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if let Some(at) = line.find("/onnxruntime_src/").or_else(|| line.starts_with('/').then_some(0))
        && let Some(open) = line[at..].find('(').map(|open| at + open)
        && line[at..open].contains(".cc:")
    {
        let mut depth = 0;
        let close = line[open..].find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        if let Some(close) = close {
            let rest = line[open + close + 1..].trim_start().trim_start_matches("const ").to_owned();
            line.truncate(at);
            line.push_str(&rest);
        }
    }
    if line.len() > 600 {
        let cut = (0..=600).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(cut);
        line.push_str("...");
    }
    line
}

/// Tells ONNX Runtime to report nothing to anybody.
fn refuse_telemetry() {
    // The second name was in use for a short time before 1.29.
    for name in ["ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"] {
        // SAFETY: `Runtime::init` demands that no other thread uses the environment meanwhile. In a database backend
        // the one thread that does is the one that calls it.
        unsafe { std::env::set_var(name, "1") };
    }
}

/// Makes sure that `path` is an ONNX Runtime of a suitable version and gives that version.
fn inspect(path: &Path) -> Result<String> {
    check_elf(path)?;
    // SAFETY: loading a library runs its initialisers. The path is a setting of the database's superuser, who can load
    // any library into the server by other means; the file has been checked to be a complete shared object.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| unsuitable(path, &error.to_string()))?;
    let version = api_version(&library).map_err(|reason| unsuitable(path, &reason))?;
    // Kept open, so that the library `ort` opens in a moment is the one that was looked at.
    std::mem::forget(library);
    Ok(version)
}

/// The version of a library that offers the needed API, or what is wrong with it.
fn api_version(library: &Library) -> Result<String, String> {
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: a function of this name has this type in every release of ONNX Runtime; the symbol is used while
    // `library` is borrowed.
    let base = unsafe {
        let get: Symbol<GetApiBase> = library
            .get(b"OrtGetApiBase\0")
            .map_err(|_| "it is no ONNX Runtime: it has no function OrtGetApiBase".to_owned())?;
        get()
    };
    if base.is_null() {
        return Err("OrtGetApiBase returned nothing".to_owned());
    }
    // SAFETY: OrtGetApiBase returns a pointer to a static structure whose two members have not changed since the first
    // release; the version string is static and ends in NUL.
    let version = unsafe {
        let text: *const c_char = ((*base).GetVersionString)();
        if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < (1, OLDEST_MINOR_VERSION) {
        return Err(format!("it is ONNX Runtime {version}, and 1.{OLDEST_MINOR_VERSION} or newer is needed"));
    }
    // SAFETY: as above; asking for an API is a table look-up.
    if unsafe { ((*base).GetApi)(OLDEST_MINOR_VERSION) }.is_null() {
        return Err(format!("ONNX Runtime {version} does not offer version {OLDEST_MINOR_VERSION} of the API"));
    }
    Ok(version)
}

/// Refuses what the dynamic loader must not see: what is no shared object of this machine, and one that is cut short,
/// which the loader maps and then dies on (SIGBUS).
fn check_elf(path: &Path) -> Result<()> {
    if !path.is_absolute() {
        return Err(Error::new(
            ErrorKind::LibraryMissing,
            format!("the path of the ONNX Runtime library must be absolute, not \"{}\"", path.display()),
        )
        .with_hint(INSTALL));
    }
    // O_NONBLOCK: opening a named pipe must not wait for its writer.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        IoKind::NotFound | IoKind::NotADirectory => {
            Error::new(ErrorKind::LibraryMissing, format!("there is no ONNX Runtime library at \"{}\"", path.display()))
                .with_hint(INSTALL)
        }
        _ => unsuitable(path, &error.to_string()),
    })?;
    let metadata = file.metadata().map_err(|error| unsuitable(path, &error.to_string()))?;
    if !metadata.is_file() {
        return Err(unsuitable(path, "it is not a regular file"));
    }
    let end = elf_end(&mut file).map_err(|error| unsuitable(path, &error.to_string()))?;
    match end {
        None => Err(unsuitable(path, "it is not a shared library for this machine")),
        Some(end) if end > metadata.len() => Err(unsuitable(path, "the file is cut short")),
        Some(_) => Ok(()),
    }
}

/// Where the last segment of a 64-bit little-endian shared object ends in the file; nothing if it is something else.
/// Follows the ELF-64 object file format.
fn elf_end(file: &mut File) -> std::io::Result<Option<u64>> {
    #[cfg(target_arch = "x86_64")]
    const MACHINE: u16 = 62;
    #[cfg(target_arch = "aarch64")]
    const MACHINE: u16 = 183;
    let mut header = [0u8; 64];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == IoKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let u16_at = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let u64_at = |bytes: &[u8], at: usize| {
        let mut word = [0u8; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let shared_object =
        header.starts_with(b"\x7fELF\x02\x01") && u16_at(&header, 16) == 3 && u16_at(&header, 18) == MACHINE;
    let (table, entry, count) = (u64_at(&header, 32), u16_at(&header, 54), u16_at(&header, 56));
    if !shared_object || entry < 56 || count == 0 {
        return Ok(None);
    }
    let size = usize::from(entry) * usize::from(count);
    let mut entries = vec![0u8; size];
    file.seek(SeekFrom::Start(table))?;
    match file.read_exact(&mut entries) {
        Ok(()) => {}
        Err(error) if error.kind() == IoKind::UnexpectedEof => return Ok(Some(u64::MAX)),
        Err(error) => return Err(error),
    }
    let ends =
        entries.chunks_exact(usize::from(entry)).map(|segment| u64_at(segment, 8).saturating_add(u64_at(segment, 32)));
    Ok(ends.max())
}

const INSTALL: &str = "Install ONNX Runtime 1.18 or newer and name its libonnxruntime.so: the one in the Python package \
                       \"onnxruntime\" (folder onnxruntime/capi) serves, and \"make install\" puts it in place.";

fn unsuitable(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::LibraryUnsuitable, format!("\"{}\" cannot be used as ONNX Runtime: {reason}", path.display()))
        .with_hint(INSTALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_the_place_in_the_source() {
        let cases = [
            (
                "/onnxruntime_src/onnxruntime/core/graph/graph.cc:15 void onnxruntime::Graph::Init(const A&, B (*)(C)) This is wrong.",
                "This is wrong.",
            ),
            (
                "Load failed:/onnxruntime_src/a/b.cc:7 A::B() const status was false.\nReally.",
                "Load failed:status was false. Really.",
            ),
            ("Invalid Feed Input Name: x (y)", "Invalid Feed Input Name: x (y)"),
            ("/no/source (but a path)", "/no/source (but a path)"),
            ("/a.cc:1 unbalanced(", "/a.cc:1 unbalanced("),
            ("", ""),
        ];
        for (raw, clean) in cases {
            assert_eq!(ort_message(&raw), clean);
        }
        assert!(ort_message(&"é".repeat(1000)).len() <= 604);
    }
}
