//! Where a model's files come from: a folder, or the library itself.
//!
//! Nothing a manifest names may lead out of its folder: a name is a plain relative path, and no step of it is a symbolic
//! link. Sizes are checked before reading and again by what was read. A folder notes the state of every file it was
//! asked about, the absent ones too, so that a later look tells cheaply whether opening it again could give another model.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{File, Metadata, OpenOptions, symlink_metadata},
    io::{ErrorKind as IoKind, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    builtin,
    error::{Error, Result, reserve},
    interrupt,
};

/// Longest relative path a manifest may name, in bytes.
const MAX_PATH: usize = 512;
/// Bytes read between two looks at whether to stop.
const PIECE: usize = 1 << 20;
/// Entries looked at in one folder.
const MAX_ENTRIES: usize = 4096;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files of one model.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    /// Compiled in.
    Builtin(builtin::Files),
    /// A folder of the file system.
    Folder(Folder),
}

/// A model folder and the state in which its files were seen.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    seen: Arc<Mutex<BTreeMap<String, Option<Stamp>>>>,
}

impl Files {
    /// The files of the folder at `path`.
    pub(crate) fn folder(path: PathBuf) -> Self {
        Files::Folder(Folder { path, seen: Arc::default() })
    }

    /// Whether there is a regular file of that name.
    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        match self {
            Files::Builtin(files) => Ok(files.iter().any(|(known, _)| *known == name)),
            Files::Folder(folder) => folder.has(name),
        }
    }

    /// Names of the regular files in `folder` ("" is the model's own), sorted; none if there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        match self {
            Files::Builtin(files) if folder.is_empty() => {
                Ok(files.iter().map(|(name, _)| (*name).to_owned()).collect())
            }
            Files::Builtin(_) => Ok(Vec::new()),
            Files::Folder(this) => this.list(folder),
        }
    }

    /// The content of a file of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Cow<'static, [u8]>> {
        match self {
            Files::Builtin(_) => Ok(Cow::Borrowed(self.find_builtin(name)?)),
            Files::Folder(folder) => {
                let (mut file, len) = folder.open(name, limit)?;
                let mut bytes: Vec<u8> = reserve(len as usize + 1, name)?;
                loop {
                    interrupt::check()?;
                    // One byte more than expected shows a file that has grown.
                    let wanted = (len + 1 - bytes.len() as u64).min(PIECE as u64);
                    let read = (&mut file).take(wanted).read_to_end(&mut bytes);
                    let read = read.map_err(|error| Error::io(name, &error))?;
                    if (read as u64) < wanted || bytes.len() as u64 > len {
                        break;
                    }
                }
                if bytes.len() as u64 != len {
                    return Err(changed(name));
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// As [`read`](Files::read), for content that is shared with a session: it is never in memory twice.
    pub(crate) fn read_shared(&self, name: &str, limit: u64) -> Result<Arc<[u8]>> {
        let Files::Folder(folder) = self else { return Ok(Arc::from(self.find_builtin(name)?)) };
        let (mut file, len) = folder.open(name, limit)?;
        // An Arc allocates infallibly: what could not be reserved a moment before is an error and not an abort.
        drop(reserve::<u8>(len as usize, name)?);
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, len as usize).collect();
        let Some(space) = Arc::get_mut(&mut bytes) else { return Err(changed(name)) };
        for piece in space.chunks_mut(PIECE) {
            interrupt::check()?;
            file.read_exact(piece).map_err(|error| match error.kind() {
                IoKind::UnexpectedEof => changed(name),
                _ => Error::io(name, &error),
            })?;
        }
        match file.read(&mut [0]) {
            Ok(0) => Ok(bytes),
            Ok(_) => Err(changed(name)),
            Err(error) => Err(Error::io(name, &error)),
        }
    }

    /// Hands the content of a file of at most `limit` bytes to `sink`, its length first, then the bytes in pieces.
    pub(crate) fn stream(&self, name: &str, limit: u64, sink: &mut dyn Sink) -> Result<()> {
        match self {
            Files::Builtin(_) => {
                let bytes = self.find_builtin(name)?;
                sink.begin(name, bytes.len() as u64);
                sink.update(bytes);
                Ok(())
            }
            Files::Folder(folder) => {
                let (mut file, len) = folder.open(name, limit)?;
                sink.begin(name, len);
                let mut buffer = reserve(PIECE, "a read buffer")?;
                buffer.resize(PIECE, 0u8);
                let mut total = 0;
                loop {
                    interrupt::check()?;
                    match file.read(&mut buffer) {
                        Ok(0) if total == len => return Ok(()),
                        Ok(0) => return Err(changed(name)),
                        Ok(read) => {
                            total += read as u64;
                            if total > len {
                                return Err(changed(name));
                            }
                            sink.update(&buffer[..read]);
                        }
                        Err(error) if error.kind() == IoKind::Interrupted => {}
                        Err(error) => return Err(Error::io(name, &error)),
                    }
                }
            }
        }
    }

    /// Whether every file is in the state in which it was first asked about. Built-in files always are.
    pub(crate) fn unchanged(&self) -> bool {
        match self {
            Files::Builtin(_) => true,
            Files::Folder(folder) => folder.seen().iter().all(|(name, stamp)| folder.stamp(name) == *stamp),
        }
    }

    fn find_builtin(&self, name: &str) -> Result<&'static [u8]> {
        let Files::Builtin(files) = self else { return Err(missing(name)) };
        files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes).ok_or_else(|| missing(name))
    }
}

/// Takes the content of files, one after the other.
pub(crate) trait Sink {
    /// A file of `len` bytes follows.
    fn begin(&mut self, name: &str, len: u64);
    /// The next bytes of it.
    fn update(&mut self, bytes: &[u8]);
}

impl Folder {
    fn has(&self, name: &str) -> Result<bool> {
        let path = self.resolve(name)?;
        self.note(name);
        match symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => Ok(false),
            Err(error) => Err(Error::io(name, &error)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = if folder.is_empty() { self.path.clone() } else { self.resolve(folder)? };
        self.note(folder);
        let entries = match path.read_dir() {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(folder, &error)),
        };
        let mut names = Vec::new();
        for entry in entries.take(MAX_ENTRIES) {
            let entry = entry.map_err(|error| Error::io(folder, &error))?;
            if entry.file_type().is_ok_and(|kind| kind.is_file())
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens a regular file and gives its length, which is at most `limit`.
    fn open(&self, name: &str, limit: u64) -> Result<(File, u64)> {
        let path = self.resolve(name)?;
        self.note(name);
        // O_NONBLOCK: opening a named pipe must not wait for its writer.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path);
        let file = opened
            .map_err(|error| if error.kind() == IoKind::NotFound { missing(name) } else { Error::io(name, &error) })?;
        let metadata = file.metadata().map_err(|error| Error::io(name, &error))?;
        if !metadata.is_file() {
            return Err(Error::invalid(format!("\"{name}\" is not a regular file")));
        }
        if metadata.len() > limit {
            return Err(Error::limit(format!("\"{name}\" has {} bytes, the limit is {limit}", metadata.len())));
        }
        Ok((file, metadata.len()))
    }

    /// The path of `name`, which must stay in this folder.
    fn resolve(&self, name: &str) -> Result<PathBuf> {
        check_relative(name)?;
        let mut path = self.path.clone();
        for step in Path::new(name) {
            path.push(step);
            if symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(Error::invalid(format!("\"{name}\" is, or goes through, a symbolic link"))
                    .with_hint("Copy the files themselves into the model's folder, for example with cp -rL."));
            }
        }
        Ok(path)
    }

    fn stamp(&self, name: &str) -> Option<Stamp> {
        symlink_metadata(self.path.join(name)).ok().map(|metadata| Stamp::of(&metadata))
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Option<Stamp>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the first state of `name`: were it a later one, a change between two reads would go unseen.
    fn note(&self, name: &str) {
        let mut seen = self.seen();
        if !seen.contains_key(name) {
            let stamp = self.stamp(name);
            seen.insert(name.to_owned(), stamp);
        }
    }
}

/// Refuses every name but a plain relative path.
pub(crate) fn check_relative(name: &str) -> Result<()> {
    let plain = !name.is_empty()
        && name.len() <= MAX_PATH
        && !name.contains(['\0', '\\'])
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        && !name.split('/').any(|part| part.is_empty() || part == ".");
    if plain {
        Ok(())
    } else {
        let shown: String = name.chars().take(80).collect();
        Err(Error::invalid(format!("\"{shown}\" is not a plain path inside the model's folder")))
    }
}

fn missing(name: &str) -> Error {
    Error::invalid(format!("the file \"{name}\" is missing"))
}

fn changed(name: &str) -> Error {
    Error::invalid(format!("\"{name}\" changed while it was read"))
        .with_hint("Try again when the model's files are at rest.")
}
