//! What one backend has loaded, remembered and counted.
//!
//! The state is leaked on purpose: a Rust destructor that ran while the process exits would release ONNX Runtime
//! sessions in the middle of ONNX Runtime's own static destructors.

use super::workers;
use crate::error::{SqlError, SqlResult};
use crate::pictures::{limits, picture_error};
use crate::settings;
use pgrx::{PgSqlErrorCode, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use vs_cache::{Cache, Key, Lookup, Maker};
use vs_onnx::{Bundle, Error, ErrorKind, Model, Options, Origin, Prepared, Runtime, Side};

thread_local! {
    static SESSION: Cell<&'static RefCell<Session>> = Cell::new(new_session());
}

fn new_session() -> &'static RefCell<Session> {
    Box::leak(Box::new(RefCell::new(Session::new())))
}

/// Pictures that go into one run of a network: enough to use the processor well, few enough to cancel soon. More bring
/// nothing on a processor, and the memory of a run stays with the backend.
const BATCH: usize = 4;

/// Pictures for each thread after which embeddings are remembered, so that an error later on does not lose them.
const CHUNK: usize = 64;

/// Runs `f` on this backend's state. `f` must not call SQL.
pub fn with<R>(f: impl FnOnce(&mut Session) -> R) -> R {
    SESSION.with(|session| {
        if let Ok(mut current) = session.get().try_borrow_mut() {
            return f(&mut current);
        }
        // Nothing in here calls itself, so whoever borrowed it never came back: PostgreSQL answers an arithmetic fault
        // with a long jump. What was under way is left as it is, and the backend begins anew.
        session.set(new_session());
        f(&mut session.get().borrow_mut())
    })
}

/// What this backend has done since it started, or since its statistics were reset.
#[derive(Clone, Copy, Default)]
pub struct Stats {
    /// Pictures that a network has seen.
    pub images: u64,
    /// Texts that a network has seen.
    pub texts: u64,
    /// Times that a network has been run; a batch counts once.
    pub runs: u64,
    /// Embeddings answered from the cache.
    pub hits: u64,
    /// Embeddings that were not in the cache.
    pub misses: u64,
    /// Time spent decoding and preprocessing, in milliseconds of wall time.
    pub decode_ms: f64,
    /// Time spent running networks, tokenizing included, in milliseconds of wall time.
    pub network_ms: f64,
}

/// A model whose files have been read.
struct Known {
    bundle: Bundle,
    /// Present once it has been used.
    model: Option<Rc<Model>>,
    /// Start of the statement in which the files were last seen to be unchanged.
    verified: pg_sys::TimestampTz,
}

/// One backend's models, cache and statistics.
pub struct Session {
    known: HashMap<String, Known>,
    cache: Cache,
    /// What has been counted.
    pub stats: Stats,
}

/// An embedding and the tag of the model that made it.
pub struct Embedded {
    /// The elements.
    pub vector: Rc<[f32]>,
    /// Tag of the model.
    pub tag: u32,
}

impl Session {
    fn new() -> Self {
        Self { known: HashMap::new(), cache: Cache::new(0), stats: Stats::default() }
    }

    /// Embeds one picture with the named model.
    pub fn embed_image(&mut self, name: &str, picture: &[u8]) -> SqlResult<Embedded> {
        let model = self.model(name, Some(Side::Image))?;
        let maker = maker(&model, Side::Image);
        let vector = match self.look_up(maker, picture) {
            Lookup::Hit(vector) => vector,
            Lookup::Miss(key) => {
                let vector = self.run_images(&model, &[picture])?.pop().ok_or_else(missing_output)?;
                self.cache.insert(key, maker, picture, Rc::clone(&vector));
                vector
            }
        };
        Ok(Embedded { vector, tag: model.bundle().tag() })
    }

    /// Embeds several pictures with the named model, each distinct one once; nothing for nothing.
    ///
    /// # Errors
    /// Those of [`Session::embed_image`], with the 1-based place of the picture that caused it.
    pub fn embed_images(&mut self, name: &str, pictures: &[Option<&[u8]>]) -> SqlResult<Vec<Option<Embedded>>> {
        let model = self.model(name, Some(Side::Image))?;
        let maker = maker(&model, Side::Image);
        let mut vectors: Vec<Option<Rc<[f32]>>> = vec![None; pictures.len()];
        // Where each picture that is not known yet is wanted, in order of first appearance.
        let mut wanted: Vec<(Key, Vec<usize>)> = Vec::new();
        let mut place: HashMap<Key, usize> = HashMap::new();
        for (i, picture) in pictures.iter().enumerate() {
            let Some(picture) = picture else { continue };
            pgrx::check_for_interrupts!();
            match self.look_up(maker, picture) {
                Lookup::Hit(vector) => vectors[i] = Some(vector),
                Lookup::Miss(key) => {
                    let at = *place.entry(key).or_insert_with(|| {
                        wanted.push((key, Vec::new()));
                        wanted.len() - 1
                    });
                    wanted[at].1.push(i);
                }
            }
        }
        for chunk in wanted.chunks(CHUNK * settings::threads()) {
            let inputs: Vec<&[u8]> = chunk.iter().filter_map(|(_, places)| pictures[places[0]]).collect();
            let made = self.run_images(&model, &inputs).map_err(|failed| {
                // `run_images` numbers within the chunk; the user counts within the array.
                match failed.at {
                    Some(at) => failed.error.within(format!("picture {}", chunk[at].1[0] + 1)),
                    None => failed.error,
                }
            })?;
            for (((key, places), input), vector) in chunk.iter().zip(&inputs).zip(made) {
                self.cache.insert(*key, maker, input, Rc::clone(&vector));
                places.iter().for_each(|&i| vectors[i] = Some(Rc::clone(&vector)));
            }
        }
        let tag = model.bundle().tag();
        Ok(vectors.into_iter().map(|vector| vector.map(|vector| Embedded { vector, tag })).collect())
    }

    /// Embeds one text with the named model.
    pub fn embed_text(&mut self, name: &str, text: &str) -> SqlResult<Embedded> {
        let model = self.model(name, Some(Side::Text))?;
        let maker = maker(&model, Side::Text);
        let vector = match self.look_up(maker, text.as_bytes()) {
            Lookup::Hit(vector) => vector,
            Lookup::Miss(key) => {
                let started = Instant::now();
                let made = model.embed_texts(&[text], &mut || false).map_err(model_error)?;
                self.stats.network_ms += milliseconds(started);
                self.stats.runs += 1;
                self.stats.texts += 1;
                let vector: Rc<[f32]> = made.into_iter().next().ok_or_else(missing_output)?.into();
                self.cache.insert(key, maker, text.as_bytes(), Rc::clone(&vector));
                vector
            }
        };
        Ok(Embedded { vector, tag: model.bundle().tag() })
    }

    fn look_up(&mut self, maker: Maker, input: &[u8]) -> Lookup {
        self.cache.set_capacity(settings::cache_bytes());
        let found = self.cache.get(maker, input);
        match found {
            Lookup::Hit(_) => self.stats.hits += 1,
            Lookup::Miss(_) => self.stats.misses += 1,
        }
        found
    }

    /// Decodes the pictures and runs the network on them: on several threads side by side, or in batches.
    fn run_images(&mut self, model: &Rc<Model>, pictures: &[&[u8]]) -> Result<Vec<Rc<[f32]>>, Failed> {
        if pictures.len() > 1 && model.runs_at_a_time().map_err(model_error)? > 1 {
            return self.run_side_by_side(model, pictures);
        }
        let mut vectors = Vec::with_capacity(pictures.len());
        let size = BATCH * settings::threads();
        for (number, batch) in pictures.chunks(size).enumerate() {
            let started = Instant::now();
            let prepared = prepare_all(model, batch).map_err(|failed| failed.behind(number * size))?;
            self.stats.decode_ms += milliseconds(started);
            for prepared in prepared.chunks(BATCH) {
                pgrx::check_for_interrupts!();
                let started = Instant::now();
                let made = model.embed_prepared(prepared, &mut || false).map_err(model_error)?;
                self.stats.network_ms += milliseconds(started);
                self.stats.runs += 1;
                self.stats.images += made.len() as u64;
                vectors.extend(made.into_iter().map(Rc::from));
            }
        }
        Ok(vectors)
    }

    /// Lets every thread decode pictures and run the network on them, each thread for itself.
    ///
    /// One picture at a time: batches gain nothing there, and a request to cancel is heeded after the picture at hand.
    fn run_side_by_side(&mut self, model: &Model, pictures: &[&[u8]]) -> Result<Vec<Rc<[f32]>>, Failed> {
        for runs in 2..=settings::threads().min(pictures.len()) {
            pgrx::check_for_interrupts!();
            model.make_room(runs).map_err(model_error)?;
        }
        let limits = limits();
        let mut collected = Collected::new(pictures.len());
        let (stats, mut since) = (&mut self.stats, Instant::now());
        workers::each(
            pictures,
            |picture| {
                let started = Instant::now();
                let prepared = prepare(model, picture, &limits)?;
                let decoding = started.elapsed();
                let made = model.embed_prepared(&[prepared], &mut || false).map_err(Refused::Model)?;
                Ok((made.into_iter().next(), decoding, started.elapsed()))
            },
            |place, made: Result<(Option<Vec<f32>>, Duration, Duration), Refused>| {
                let vector = made.map(|(vector, decoding, whole)| {
                    // The threads overlap: what has passed since the last result is split as this picture's time is.
                    let passed = milliseconds(std::mem::replace(&mut since, Instant::now()));
                    let share = decoding.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE);
                    stats.decode_ms += passed * share;
                    stats.network_ms += passed * (1.0 - share);
                    stats.runs += 1;
                    stats.images += 1;
                    vector
                });
                collected.take(place, vector)
            },
        )?;
        let vectors = collected.finish()?;
        vectors.into_iter().map(|vector| Ok(Rc::from(vector.ok_or_else(missing_output)?))).collect()
    }

    /// The named model, with that side loaded, or as much as is loaded already.
    pub fn model(&mut self, name: &str, side: Option<Side>) -> SqlResult<Rc<Model>> {
        let options = Options {
            threads: settings::threads(),
            provider: settings::execution_provider(),
            batch: BATCH,
            ..Options::default()
        };
        let known = self.known(name)?;
        if known.model.as_ref().is_some_and(|model| *model.options() != options || model.has_faulted()) {
            known.model = None;
        }
        let model = match &known.model {
            Some(model) => Rc::clone(model),
            None => {
                let runtime = runtime()?;
                workers::stop_at_exit();
                Rc::new(Model::new(runtime, known.bundle.clone(), &options))
            }
        };
        if let Some(side) = side {
            model.load_side(side).map_err(model_error)?;
        }
        Ok(Rc::clone(known.model.insert(model)))
    }

    /// The files of the named model, read anew if they have changed.
    pub fn bundle(&mut self, name: &str) -> SqlResult<&Bundle> {
        self.known(name).map(|known| &known.bundle)
    }

    fn known(&mut self, name: &str) -> SqlResult<&mut Known> {
        // SAFETY: reads a timestamp that PostgreSQL keeps for the backend's lifetime.
        let statement = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
        let current = self.known.get_mut(name).is_some_and(|known| {
            // Within a statement all rows get the same model, and its folder is looked at once.
            let fresh = *known.bundle.origin() == Origin::Builtin
                || (known.verified == statement && in_model_dir(known.bundle.origin()))
                || (in_model_dir(known.bundle.origin()) && known.bundle.is_current());
            known.verified = statement;
            fresh
        });
        if !current {
            self.known.remove(name);
            let bundle = Bundle::find(Some(&model_dir()), name).map_err(model_error)?;
            self.known.insert(name.to_owned(), Known { bundle, model: None, verified: statement });
        }
        self.known.get_mut(name).ok_or_else(missing_output)
    }

    /// The model if it is loaded now.
    pub fn loaded(&self, name: &str) -> Option<&Rc<Model>> {
        self.known.get(name)?.model.as_ref().filter(|model| model.is_loaded())
    }

    /// Number of loaded models and the memory that they take, in bytes.
    pub fn loaded_models(&self) -> (usize, u64) {
        let loaded = self.known.values().filter_map(|known| known.model.as_ref()).filter(|model| model.is_loaded());
        loaded.fold((0, 0), |(count, bytes), model| (count + 1, bytes + model.memory().resident))
    }

    /// Number of embeddings in the cache and the memory that it takes, in bytes.
    pub fn cached(&self) -> (usize, usize) {
        (self.cache.len(), self.cache.bytes())
    }

    /// Forgets everything: cache, models and statistics.
    pub fn reset(&mut self) {
        self.known.clear();
        self.cache.clear();
        self.stats = Stats::default();
    }
}

/// Why a picture was not embedded. Plain data: it is made on worker threads.
enum Refused {
    Picture(vs_vision::Error),
    Model(Error),
}

/// Makes a picture the network's input. Calls no PostgreSQL.
fn prepare(model: &Model, picture: &[u8], limits: &vs_vision::Limits) -> Result<Prepared, Refused> {
    let rgb = vs_vision::decode(picture, limits).map_err(Refused::Picture)?;
    model.prepare(&rgb).map_err(Refused::Model)
}

/// Makes all pictures the network's input, in parallel if threads are allowed.
fn prepare_all(model: &Model, pictures: &[&[u8]]) -> Result<Vec<Prepared>, Failed> {
    let limits = limits();
    let mut collected = Collected::new(pictures.len());
    workers::each(pictures, |picture| prepare(model, picture, &limits), |place, made| collected.take(place, made))?;
    collected.finish()
}

/// The results of [`workers::each`], put into the order of their places.
struct Collected<T> {
    results: Vec<Option<T>>,
    failed: Option<(usize, Refused)>,
}

impl<T> Collected<T> {
    fn new(len: usize) -> Self {
        Self { results: std::iter::repeat_with(|| None).take(len).collect(), failed: None }
    }

    /// Keeps a result, or the first of the failures, at which work ends.
    fn take(&mut self, place: usize, result: Result<T, Refused>) -> ControlFlow<()> {
        match result {
            Ok(result) => self.results[place] = Some(result),
            Err(error) if self.failed.as_ref().is_none_or(|(first, _)| place < *first) => {
                self.failed = Some((place, error));
            }
            Err(_) => {}
        }
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finish(self) -> Result<Vec<T>, Failed> {
        if let Some((place, error)) = self.failed {
            let error = match error {
                Refused::Picture(error) => picture_error(error),
                Refused::Model(error) => model_error(error),
            };
            return Err(Failed { error, at: Some(place) });
        }
        Ok(self.results.into_iter().collect::<Option<Vec<T>>>().ok_or_else(missing_output)?)
    }
}

/// An error and, where one picture caused it, its place.
struct Failed {
    error: SqlError,
    at: Option<usize>,
}

impl Failed {
    /// Counts the place from further ahead.
    fn behind(self, before: usize) -> Self {
        Self { at: self.at.map(|at| at + before), ..self }
    }
}

impl From<SqlError> for Failed {
    fn from(error: SqlError) -> Self {
        Self { error, at: None }
    }
}

impl From<Failed> for SqlError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

fn maker(model: &Model, side: Side) -> Maker {
    // Providers round differently: a cached vector is one of the provider that is asked for.
    Maker { model: *model.bundle().digest(), side: side as u8 | (model.options().provider as u8) << 1 }
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

fn missing_output() -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "the model returned no embedding")
}

/// What is wrong with a model or its library, in PostgreSQL's form.
pub fn model_error(error: Error) -> SqlError {
    if error.kind() == ErrorKind::Cancelled {
        // PostgreSQL knows the reason.
        pgrx::check_for_interrupts!();
    }
    let code = match error.kind() {
        ErrorKind::LibraryMissing => PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
        ErrorKind::LibraryUnsuitable => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        ErrorKind::ModelMissing => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        ErrorKind::ModelInvalid => PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        ErrorKind::NoSuchSide => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        ErrorKind::RunFailed | ErrorKind::BadOutput => PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
        ErrorKind::Io => PgSqlErrorCode::ERRCODE_IO_ERROR,
        ErrorKind::OutOfMemory => PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        ErrorKind::LimitExceeded => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        ErrorKind::Cancelled => PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
    };
    let hint = match (error.hint(), error.kind()) {
        (Some(hint), ErrorKind::NoSuchSide) => {
            Some(format!("{hint} The view visual_search.models shows the sides of each model."))
        }
        (Some(hint), _) => Some(hint.to_owned()),
        (None, ErrorKind::ModelMissing) => Some("The view visual_search.models lists the models.".to_owned()),
        (None, _) => None,
    };
    let raised = SqlError::new(code, error.message());
    match hint {
        Some(hint) => raised.hint(hint),
        None => raised,
    }
}

/// The folder of model folders.
pub fn model_dir() -> PathBuf {
    let setting = settings::model_dir();
    if !setting.is_empty() {
        return PathBuf::from(setting);
    }
    let mut share = [0 as std::ffi::c_char; pg_sys::MAXPGPATH as usize];
    // SAFETY: my_exec_path is set in every process; get_share_path writes at most MAXPGPATH bytes with the final NUL.
    let share = unsafe {
        pg_sys::get_share_path((&raw const pg_sys::my_exec_path).cast(), share.as_mut_ptr());
        CStr::from_ptr(share.as_ptr())
    };
    Path::new(&*share.to_string_lossy()).join("visual_search/models")
}

/// Whether a model still lies where the setting says that models are.
fn in_model_dir(origin: &Origin) -> bool {
    match origin {
        Origin::Builtin => true,
        Origin::Folder(folder) => folder.parent() == Some(&model_dir()),
    }
}

/// ONNX Runtime, loaded from where the setting says, else from where `make install` puts it, else from the system.
fn runtime() -> SqlResult<&'static Runtime> {
    if let Some(runtime) = Runtime::get() {
        return Ok(runtime);
    }
    let setting = settings::onnxruntime_library();
    if !setting.is_empty() {
        return Runtime::init(Path::new(&setting)).map_err(model_error);
    }
    // SAFETY: pkglib_path is a NUL-terminated array that is set in every process.
    let installed = unsafe { CStr::from_ptr((&raw const pg_sys::pkglib_path).cast()) };
    let installed = Path::new(&*installed.to_string_lossy()).join("visual_search/libonnxruntime.so");
    let system =
        ["/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found = system.iter().map(|folder| Path::new(folder).join("libonnxruntime.so")).find(|path| path.exists());
    match (installed.exists(), found) {
        (false, Some(found)) => Runtime::init(&found),
        _ => Runtime::init(&installed),
    }
    .map_err(model_error)
}
