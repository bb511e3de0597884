//! A model as a set of files, and the digest that names it.
//!
//! A bundle is a folder, or a compiled-in list of files, whose specification ([`manifest`](crate::manifest)) has been
//! read and whose every byte has been hashed. The digest covers exactly the files that make up the model: other files
//! in the folder (a README, another precision of the same network) do not change it. Its first 32 bits are the tag that
//! every embedding carries.
//!
//! Opening a bundle reads all of its files once and keeps none of the large ones; what a session needs is read again
//! when the session is made, and only if the folder is still in the state that was hashed.

mod files;

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

pub(crate) use files::{Files, check_relative};

use crate::{
    builtin,
    error::{Error, ErrorKind, Result},
    graph::Graph,
    manifest::{self, Spec},
    output,
};

/// The largest ONNX file: what protobuf can hold.
pub const MAX_FILE: u64 = 2 << 30;
/// The largest file of weights beside an ONNX file: they exist because that one cannot hold more.
pub(crate) const MAX_WEIGHTS: u64 = 64 << 30;
/// The largest JSON file read, in bytes; tokenizers with 250,000 entries take 30 MB.
pub(crate) const MAX_JSON: u64 = 128 << 20;
/// Files a model may consist of.
const MAX_FILES: usize = 256;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Compiled into the library.
    Builtin,
    /// This folder.
    Folder(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Builtin => f.write_str("built-in"),
            Origin::Folder(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A model whose specification has been read and whose files have been hashed.
#[derive(Clone, Debug)]
pub struct Bundle {
    name: String,
    origin: Origin,
    spec: Spec,
    files: Files,
    members: Vec<String>,
    digest: [u8; 32],
}

impl Bundle {
    /// Opens the model called `name`: a compiled-in one, else the folder of that name in `folder`.
    ///
    /// Fails with [`ErrorKind::ModelMissing`] where there is none, [`ErrorKind::ModelInvalid`] where its files do not
    /// make a model, [`ErrorKind::LimitExceeded`] and [`ErrorKind::Io`].
    pub fn find(folder: Option<&Path>, name: &str) -> Result<Self> {
        check_name(name)?;
        if let Some(files) = builtin::find(name) {
            return Bundle::builtin(name, files);
        }
        let path = folder.map(|folder| folder.join(name)).filter(|path| path.is_dir());
        match path {
            Some(path) => Bundle::open(&path),
            None => Err(Error::new(ErrorKind::ModelMissing, format!("there is no model \"{name}\""))),
        }
    }

    /// Opens the model folder at `path`, whose last component is the model's name.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        check_name(name)?;
        Bundle::of(name, Origin::Folder(path.to_owned()), Files::folder(path.to_owned()))
    }

    /// Opens a compiled-in model.
    pub fn builtin(name: &str, files: builtin::Files) -> Result<Self> {
        Bundle::of(name, Origin::Builtin, Files::Builtin(files))
    }

    fn of(name: &str, origin: Origin, files: Files) -> Result<Self> {
        let make = || {
            let mut spec = manifest::read(&files)?;
            let members = members(&mut spec, &files)?;
            let digest = digest(&members, spec.understood()?.as_deref(), &files)?;
            if !files.unchanged() {
                return Err(Error::invalid("its files changed while they were read").with_hint("Try again."));
            }
            Ok((spec, members, digest))
        };
        let (spec, members, digest) = make().map_err(|error: Error| error.within(format_args!("model \"{name}\"")))?;
        Ok(Bundle { name: name.to_owned(), origin, spec, files, members, digest })
    }

    /// The name it is called by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What its manifest, or the export's own configuration files, say.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Relative names of the files that make up the model, sorted.
    pub fn files(&self) -> &[String] {
        &self.members
    }

    /// SHA-256 over, for each file in the order of [`files`](Bundle::files): the length of its name, its name, the
    /// length of its content, its content; lengths as 64-bit big-endian numbers. For a model without a manifest, what its
    /// files were understood to say follows as a file without a name.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The first 32 bits of the digest, big-endian; 1 in place of 0, which means "no model".
    pub fn tag(&self) -> u32 {
        let [a, b, c, d, ..] = self.digest;
        u32::from_be_bytes([a, b, c, d]).max(1)
    }

    /// Whether the files are still those that were hashed, judged by their size, times and inode: cheap enough to ask
    /// before every use.
    pub fn is_current(&self) -> bool {
        self.files.unchanged()
    }

    /// The content of one of the model's files of weights.
    pub(crate) fn read_weights(&self, name: &str) -> Result<std::sync::Arc<[u8]>> {
        self.files.read_shared(name, MAX_WEIGHTS)
    }

    /// The content of one of the model's files.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<std::borrow::Cow<'static, [u8]>> {
        self.files.read(name, limit)
    }
}

/// Names of the models that are there, sorted, and where each is: the compiled-in ones and the folders in `folder`. A
/// folder that bears the name of a compiled-in model is hidden by it. Whether a folder holds a model shows when it is
/// opened.
pub fn list(folder: Option<&Path>) -> Result<Vec<(String, Origin)>> {
    let mut models: Vec<_> = builtin::builtin().iter().map(|(name, _)| ((*name).to_owned(), Origin::Builtin)).collect();
    if let Some(folder) = folder {
        let entries = match folder.read_dir() {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(&error)),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(|error| unreadable(&error))?;
            if let Ok(name) = entry.file_name().into_string()
                && check_name(&name).is_ok()
                && builtin::find(&name).is_none()
                && entry.path().is_dir()
            {
                models.push((name, Origin::Folder(entry.path())));
            }
        }
    }
    models.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(models)
}

fn unreadable(error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not read the folder of models: {error}"))
}

/// Refuses a name that could not be a model's: 1 to 63 of `a-z 0-9 . _ -`, not beginning with a dot.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    if !name.is_empty() && name.len() <= 63 && name.chars().all(allowed) && !name.starts_with('.') {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::new(ErrorKind::ModelMissing, format!("\"{shown}\" is not a model's name")).with_hint(
        "A name has up to 63 of the characters a-z, 0-9, \".\", \"_\" and \"-\", and does not begin with a dot.",
    ))
}

/// Every file the specification names and every file of weights those name in turn, sorted. Notes in the specification
/// what the graphs declare of the dimensions, if it does not say itself.
fn members(spec: &mut Spec, files: &Files) -> Result<Vec<String>> {
    let mut members = spec.files.clone();
    let (image, text) = (&spec.image, &spec.text);
    let graphs: BTreeSet<&String> =
        image.iter().map(|image| &image.file).chain(text.iter().map(|text| &text.file)).collect();
    for name in graphs {
        let bytes = files.read(name, MAX_FILE)?;
        let graph = Graph::parse(&bytes).map_err(|error| error.within(format_args!("\"{name}\"")))?;
        let of_image =
            || image.iter().filter(|image| image.file == *name).find_map(|image| output::dims_of_image(&graph, image));
        let of_text =
            || text.iter().filter(|text| text.file == *name).find_map(|text| output::dims_of_text(&graph, text));
        spec.dims = spec.dims.or_else(of_image).or_else(of_text);
        for location in graph.external_files() {
            members.push(beside(name, location)?);
            if members.len() > MAX_FILES {
                return Err(Error::limit(format!("the model consists of more than {MAX_FILES} files")));
            }
        }
    }
    members.sort();
    members.dedup();
    Ok(members)
}

/// The path, relative to the model's folder, of a file that the ONNX file `onnx` names relative to itself.
pub(crate) fn beside(onnx: &str, location: &str) -> Result<String> {
    check_relative(location)?;
    Ok(match onnx.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{location}"),
        None => location.to_owned(),
    })
}

fn digest(members: &[String], understood: Option<&[u8]>, files: &Files) -> Result<[u8; 32]> {
    struct Hasher(Sha256);
    impl files::Sink for Hasher {
        fn begin(&mut self, name: &str, len: u64) {
            self.0.update((name.len() as u64).to_be_bytes());
            self.0.update(name);
            self.0.update(len.to_be_bytes());
        }
        fn update(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Hasher(Sha256::new());
    for name in members {
        files.stream(name, MAX_WEIGHTS, &mut hasher)?;
    }
    // What a manifest leaves open is a matter of its format. An export's files say less, and what is made of them is
    // part of the model: were it understood otherwise one day, the vectors would be others.
    if let Some(understood) = understood {
        files::Sink::begin(&mut hasher, "", understood.len() as u64);
        files::Sink::update(&mut hasher, understood);
    }
    Ok(hasher.0.finalize().into())
}
