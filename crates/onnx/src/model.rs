//! A model that is ready to embed: a bundle, and a network for each side it has.
//!
//! A side is loaded when it is first needed, as most processes only ever use one, and loading includes one run, which
//! settles the dimensions and shows networks that produce no usable numbers.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};
use vs_vision::Rgb;

use crate::{
    bundle::{Bundle, MAX_FILE, MAX_JSON, beside},
    error::{Error, ErrorKind, Result, reserve},
    graph::Graph,
    image::{ImageEncoder, Prepared},
    interrupt,
    manifest::MAX_DIMS,
    memory::{Resident, Usage, trim},
    output,
    runtime::Runtime,
    session::{Options, Port, Provider, Session},
    text::TextEncoder,
};

/// One of the two things a model may embed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Pictures.
    Image,
    /// Texts.
    Text,
}

impl Side {
    /// `"image"` or `"text"`.
    pub fn name(self) -> &'static str {
        match self {
            Side::Image => "image",
            Side::Text => "text",
        }
    }
}

/// A loaded side: its encoder and the memory it took.
struct Loaded<T> {
    encoder: T,
    /// Grows with the number of sessions.
    usage: Mutex<Usage>,
    /// Whether its weights are small enough for a copy in each thread.
    small: bool,
}

impl<T> Loaded<T> {
    fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A model that embeds pictures, texts, or both.
///
/// Calls from several threads run side by side as far as [`make_room`](Model::make_room) has been asked for it, and wait
/// for each other beyond that. [`prepare`](Model::prepare) never waits.
pub struct Model {
    runtime: &'static Runtime,
    bundle: Bundle,
    options: Options,
    image: OnceLock<Loaded<ImageEncoder>>,
    text: OnceLock<Loaded<TextEncoder>>,
}

impl Model {
    /// Makes a model of a bundle and loads nothing yet.
    pub fn new(runtime: &'static Runtime, bundle: Bundle, options: &Options) -> Self {
        Model { runtime, bundle, options: options.clone(), image: OnceLock::new(), text: OnceLock::new() }
    }

    /// Makes a model of a bundle and loads the image side, or the text side where there is no other. Fails as
    /// [`load_side`](Model::load_side) does.
    pub fn load(runtime: &'static Runtime, bundle: Bundle, options: &Options) -> Result<Self> {
        let model = Model::new(runtime, bundle, options);
        let side = if model.bundle.spec().image.is_some() { Side::Image } else { Side::Text };
        model.load_side(side)?;
        Ok(model)
    }

    /// Loads a side, if that was not done before. Fails with [`ErrorKind::NoSuchSide`], with
    /// [`ErrorKind::ModelInvalid`] where the network does not load or does not fit its specification, with
    /// [`ErrorKind::BadOutput`] where a first run yields no embedding.
    pub fn load_side(&self, side: Side) -> Result<()> {
        match side {
            Side::Image => self.image().map(drop),
            Side::Text => self.text().map(drop),
        }
    }

    /// Whether any side is loaded.
    pub fn is_loaded(&self) -> bool {
        self.image.get().is_some() || self.text.get().is_some()
    }

    /// Whether a network of it was given up after an arithmetic fault: it is to be loaded anew.
    pub fn has_faulted(&self) -> bool {
        self.image.get().is_some_and(|image| image.encoder.session().has_faulted())
            || self.text.get().is_some_and(|text| text.encoder.session().has_faulted())
    }

    /// The files it was made of.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What it was loaded with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The sides it has.
    pub fn sides(&self) -> Vec<Side> {
        let spec = self.bundle.spec();
        let sides = [(Side::Image, spec.image.is_some()), (Side::Text, spec.text.is_some())];
        sides.into_iter().filter(|(_, there)| *there).map(|(side, _)| side).collect()
    }

    /// Elements of an embedding, from whichever side is loaded: both have the same.
    pub fn dims(&self) -> usize {
        let image = self.image.get().map(|image| image.encoder.dims());
        image.or_else(|| self.text.get().map(|text| text.encoder.dims())).unwrap_or(0)
    }

    /// Turns a picture into the network's input: pure computation that any number of threads can do at a time.
    pub fn prepare(&self, picture: &Rgb) -> Result<Prepared> {
        self.image()?.encoder.prepare(picture)
    }

    /// One vector for each prepared picture. `cancelled` is asked before every run of at most
    /// [`Options::batch`] pictures; where it answers `true` the result is [`ErrorKind::Cancelled`].
    pub fn embed_prepared(&self, pictures: &[Prepared], cancelled: &mut dyn FnMut() -> bool) -> Result<Vec<Vec<f32>>> {
        self.image()?.encoder.embed(pictures, cancelled)
    }

    /// How many threads of the caller can gain from running the image network at a time: [`Options::threads`] where its
    /// weights are small. Then no run uses more than the thread that calls; pictures side by side keep processors
    /// busier than the parts of one picture.
    pub fn runs_at_a_time(&self) -> Result<usize> {
        Ok(if self.image()?.small { self.options.threads.clamp(1, 64) } else { 1 })
    }

    /// Makes room for `runs` runs of the image network at a time, at most [`runs_at_a_time`](Model::runs_at_a_time). Each
    /// one more takes a copy of the weights, which [`memory`](Model::memory) includes.
    pub fn make_room(&self, runs: usize) -> Result<()> {
        let loaded = self.image()?;
        let runs = runs.min(self.runs_at_a_time()?);
        if loaded.encoder.session().room() >= runs {
            return Ok(());
        }
        let before = Resident::now();
        let mut weights = 0;
        let made = (|| {
            while loaded.encoder.session().room() < runs {
                let (encoder, more) = self.open_image()?;
                weights += more;
                loaded.encoder.absorb(encoder);
            }
            Ok(())
        })();
        trim();
        let more = Usage { weights, resident: Resident::now().since(before) };
        let mut usage = loaded.usage.lock().unwrap_or_else(PoisonError::into_inner);
        *usage = *usage + more;
        made.map_err(|error| self.name(error))
    }

    /// One vector for each picture.
    pub fn embed_images(&self, pictures: &[Rgb]) -> Result<Vec<Vec<f32>>> {
        let encoder = &self.image()?.encoder;
        let mut vectors = reserve(pictures.len(), "embeddings")?;
        for batch in pictures.chunks(encoder.batch()) {
            let prepared = batch.iter().map(|picture| encoder.prepare(picture)).collect::<Result<Vec<_>>>()?;
            vectors.extend(encoder.embed(&prepared, &mut || false)?);
        }
        Ok(vectors)
    }

    /// One vector for each text; `cancelled` as for [`embed_prepared`](Model::embed_prepared).
    pub fn embed_texts(&self, texts: &[&str], cancelled: &mut dyn FnMut() -> bool) -> Result<Vec<Vec<f32>>> {
        self.text()?.encoder.embed(texts, cancelled)
    }

    /// Token numbers of a text as the network gets them, before padding.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.text()?.encoder.tokens(text)
    }

    /// Memory taken by the loaded sides.
    pub fn memory(&self) -> Usage {
        let image = self.image.get().map(Loaded::usage);
        let text = self.text.get().map(Loaded::usage);
        [image, text].into_iter().flatten().fold(Usage::default(), |sum, usage| sum + usage)
    }

    /// Loads every side and describes it: files, inputs, outputs, shapes, preprocessing, pooling, provider, memory.
    pub fn describe(&self) -> Result<Value> {
        let mut value = json!({
            "name": self.bundle.name(),
            "source": self.bundle.origin().to_string(),
            "tag": format!("{:08x}", self.bundle.tag()),
            "digest": hex(self.bundle.digest()),
            "files": self.bundle.files(),
            "specification": self.bundle.spec(),
            "runtime": { "version": self.runtime.version(), "provider": self.options.provider.name(), "threads": self.options.threads },
        });
        let spec = self.bundle.spec();
        if spec.image.is_some() {
            let image = &self.image()?.encoder;
            value["image"] = json!({
                "inputs": ports(image.session().inputs()),
                "outputs": ports(image.session().outputs()),
                "preprocess": image.preprocess(),
                "element": image.element(),
                "batch": image.fixed_batch().map_or(json!("any"), |batch| json!(batch)),
                "pooling": image.pooling(),
                "dims": image.dims(),
            });
        }
        if spec.text.is_some() {
            let text = &self.text()?.encoder;
            value["text"] = json!({
                "inputs": ports(text.session().inputs()),
                "outputs": ports(text.session().outputs()),
                "max_tokens": text.max_tokens(),
                "padded_to": text.padded(),
                "pooling": text.pooling(),
                "dims": text.dims(),
            });
        }
        value["dims"] = json!(self.dims());
        value["memory"] = json!(self.memory());
        Ok(value)
    }

    /// Loads every side and runs it a few times on generated input. Fails as loading and embedding do.
    pub fn trial(&self) -> Result<Trial> {
        let spec = self.bundle.spec();
        let mut trial = Trial { dims: 0, image: None, text: None };
        if spec.image.is_some() {
            let start = Instant::now();
            let encoder = &self.image()?.encoder;
            let load_ms = milliseconds(start);
            let picture = crate::image::sample()?;
            let mut times = Vec::new();
            let mut prepare_ms = f64::INFINITY;
            for _ in 0..5 {
                interrupt::check()?;
                let start = Instant::now();
                let prepared = encoder.prepare(&picture)?;
                prepare_ms = prepare_ms.min(milliseconds(start));
                let start = Instant::now();
                encoder.embed(&[prepared], &mut || false)?;
                times.push(milliseconds(start));
            }
            trial.image = Some(Timing { load_ms, prepare_ms, run_ms: median(&mut times) });
        }
        if spec.text.is_some() {
            let start = Instant::now();
            let encoder = &self.text()?.encoder;
            let load_ms = milliseconds(start);
            let mut times = Vec::new();
            let mut prepare_ms = f64::INFINITY;
            for _ in 0..5 {
                interrupt::check()?;
                let start = Instant::now();
                encoder.tokens("a photo of a red shoe")?;
                prepare_ms = prepare_ms.min(milliseconds(start));
                let start = Instant::now();
                encoder.embed(&["a photo of a red shoe"], &mut || false)?;
                times.push(milliseconds(start));
            }
            trial.text = Some(Timing { load_ms, prepare_ms, run_ms: median(&mut times) });
        }
        trial.dims = self.dims();
        Ok(trial)
    }

    fn image(&self) -> Result<&Loaded<ImageEncoder>> {
        side(&self.image, &self.options, || {
            let (encoder, weights) = self.open_image()?;
            self.check_dims(encoder.dims(), self.text.get().map(|text| text.encoder.dims()))?;
            Ok((encoder, weights))
        })
        .map_err(|error| self.name(error))
    }

    /// A new encoder for the image side, and the bytes its weights take.
    fn open_image(&self) -> Result<(ImageEncoder, u64)> {
        let spec = self.bundle.spec().image.as_ref().ok_or_else(|| self.lacks(Side::Image))?;
        let (session, weights) = self.session(&spec.file, |graph| output::of_image(graph, spec))?;
        Ok((ImageEncoder::new(session, spec, &self.options)?, weights))
    }

    fn text(&self) -> Result<&Loaded<TextEncoder>> {
        side(&self.text, &self.options, || {
            let spec = self.bundle.spec().text.as_ref().ok_or_else(|| self.lacks(Side::Text))?;
            let tokenizer = self.bundle.read(&spec.tokenizer, MAX_JSON)?;
            let (session, weights) = self.session(&spec.file, |graph| output::of_text(graph, spec))?;
            let encoder = TextEncoder::new(session, &tokenizer, spec, &self.options)?;
            self.check_dims(encoder.dims(), self.image.get().map(|image| image.encoder.dims()))?;
            Ok((encoder, weights))
        })
        .map_err(|error| self.name(error))
    }

    /// The session for the part of an ONNX file that computes the tensor `choose` names, and the bytes its weights take.
    fn session(
        &self,
        file: &str,
        choose: impl for<'a> Fn(&Graph<'a>) -> Result<Cow<'a, str>>,
    ) -> Result<(Session, u64)> {
        let bytes = self.bundle.read(file, MAX_FILE)?;
        let open = || {
            let graph = Graph::parse(&bytes)?;
            let part = graph.extract(&choose(&graph)?)?;
            let used = Graph::parse(&part)?;
            let mut external = Vec::new();
            for location in used.external_files() {
                external.push(((*location).to_owned(), self.bundle.read_weights(&beside(file, location)?)?));
            }
            let weights =
                part.len() as u64 + external.iter().map(|(_, bytes): &(_, Arc<[u8]>)| bytes.len() as u64).sum::<u64>();
            if !self.bundle.is_current() {
                return Err(Error::invalid("its files changed after it was opened").with_hint("Try again."));
            }
            let threads = if is_small(weights, &self.options) { 1 } else { self.options.threads.clamp(1, 64) };
            Ok((Session::open(self.runtime, &part, &used, external, self.options.provider, threads)?, weights))
        };
        open().map_err(|error| error.within(format_args!("\"{file}\"")))
    }

    fn check_dims(&self, dims: usize, other: Option<usize>) -> Result<()> {
        if !(1..=MAX_DIMS).contains(&dims) {
            return Err(Error::limit(format!("its embeddings have {dims} dimensions; 1 to {MAX_DIMS} are possible")));
        }
        if let Some(declared) = self.bundle.spec().dims.filter(|&declared| declared != dims) {
            return Err(Error::invalid(format!("its files say {declared} dimensions, and its network gives {dims}")));
        }
        if let Some(other) = other.filter(|&other| other != dims) {
            return Err(Error::invalid(format!("one side gives {dims} dimensions and the other {other}")));
        }
        Ok(())
    }

    fn lacks(&self, side: Side) -> Error {
        let (what, side) = if side == Side::Image { ("pictures", "image") } else { ("texts", "text") };
        let message = format!("model \"{}\" cannot embed {what}", self.bundle.name());
        Error::new(ErrorKind::NoSuchSide, message).with_hint(format!("It has no {side} side."))
    }

    fn name(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::NoSuchSide {
            return error;
        }
        error.within(format_args!("model \"{}\"", self.bundle.name()))
    }
}

/// Whether each thread may have a copy of weights of this size. A graphics processor has one of everything.
fn is_small(weights: u64, options: &Options) -> bool {
    options.provider == Provider::Cpu && weights <= options.small
}

/// The loaded side in `cell`, loading it first if it is not there.
fn side<'a, T>(
    cell: &'a OnceLock<Loaded<T>>,
    options: &Options,
    load: impl FnOnce() -> Result<(T, u64)>,
) -> Result<&'a Loaded<T>> {
    if let Some(loaded) = cell.get() {
        return Ok(loaded);
    }
    let before = Resident::now();
    let loaded = load();
    trim();
    let (encoder, weights) = loaded?;
    let usage = Mutex::new(Usage { weights, resident: Resident::now().since(before) });
    Ok(cell.get_or_init(|| Loaded { encoder, usage, small: is_small(weights, options) }))
}

/// The outcome of [`Model::trial`].
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Trial {
    /// Elements of an embedding.
    pub dims: usize,
    /// Timings of the image side.
    pub image: Option<Timing>,
    /// Timings of the text side.
    pub text: Option<Timing>,
}

/// How long a side takes, in milliseconds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Timing {
    /// Loading, next to nothing if it was loaded already.
    pub load_ms: f64,
    /// Preprocessing one 640 × 480 picture, or tokenising one short text.
    pub prepare_ms: f64,
    /// Running the network on one.
    pub run_ms: f64,
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn ports(ports: &[Port]) -> Value {
    let port = |port: &Port| json!({ "name": port.name, "type": port.type_name, "shape": port.shape });
    ports.iter().map(port).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
