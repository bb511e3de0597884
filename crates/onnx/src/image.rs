//! The image side of a model: preprocessing and network.

use half::f16;
use vs_vision::{Layout, Preprocess, Rgb, preprocess_into};

use crate::{
    error::{Error, ErrorKind, Result, reserve},
    manifest::{ImageSpec, Pooling},
    pool::Pool,
    session::{Element, Feed, Options, Port, Session, Tensor, Values},
};

/// The input of an image network for one picture.
#[derive(Clone, Debug)]
pub struct Prepared(Pixels);

/// Preprocessed pixels in the network's element type.
#[derive(Clone, Debug)]
enum Pixels {
    F32(Vec<f32>),
    F16(Vec<f16>),
    U8(Vec<u8>),
}

/// A loaded image network.
pub(crate) struct ImageEncoder {
    session: Session,
    input: String,
    preprocess: Preprocess,
    element: Element,
    /// Pictures in one run.
    batch: usize,
    /// The graph takes exactly this many pictures at a time.
    fixed_batch: Option<usize>,
    pool: Pool,
    dims: usize,
}

impl ImageEncoder {
    pub(crate) fn new(session: Session, spec: &ImageSpec, options: &Options) -> Result<Self> {
        spec.preprocess.validate().map_err(|error| Error::invalid(error.to_string()))?;
        let port = input(&session, spec)?;
        let (element, fixed_batch) = check_input(port, &spec.preprocess)?;
        let preprocess = if element == Element::U8 { for_bytes(spec)? } else { spec.preprocess.clone() };
        let name = port.name.clone();
        let batch = session.batch(fixed_batch.unwrap_or(options.batch));
        let pool = Pool {
            pooling: Pooling::None,
            layout: spec.layout.unwrap_or(spec.preprocess.layout),
            normalize: spec.normalize,
        };
        let mut encoder = ImageEncoder { session, input: name, preprocess, element, batch, fixed_batch, pool, dims: 0 };
        // A first run tells the shape of the output, which graphs often leave open, and warms up the session.
        let prepared = [encoder.prepare(&sample()?)?];
        let tensor = encoder.run(&prepared)?;
        encoder.pool.pooling = spec.pooling.unwrap_or(Pool::by_rank(tensor.shape.len(), spec.tokens.into()));
        encoder.dims = encoder.pool.vectors(&tensor, encoder.rows(1), 1, None)?[0].len();
        Ok(encoder)
    }

    /// Elements of a vector.
    pub(crate) fn dims(&self) -> usize {
        self.dims
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Takes over another encoder of the same network, so that one more run can be under way at a time.
    pub(crate) fn absorb(&self, other: ImageEncoder) {
        self.session.absorb(other.session);
    }

    pub(crate) fn pooling(&self) -> Pooling {
        self.pool.pooling
    }

    /// What is done to a picture.
    pub(crate) fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    pub(crate) fn element(&self) -> &'static str {
        self.element.name()
    }

    pub(crate) fn fixed_batch(&self) -> Option<usize> {
        self.fixed_batch
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Turns a picture into the network's input.
    pub(crate) fn prepare(&self, picture: &Rgb) -> Result<Prepared> {
        let len = self.preprocess.output_len();
        let pixels = match self.element {
            Element::F16 => Pixels::F16(self.pixels(picture, len, f16::ZERO)?),
            Element::U8 => Pixels::U8(self.pixels(picture, len, 0)?),
            _ => Pixels::F32(self.pixels(picture, len, 0.0)?),
        };
        Ok(Prepared(pixels))
    }

    fn pixels<T: vs_vision::Element>(&self, picture: &Rgb, len: usize, zero: T) -> Result<Vec<T>> {
        let mut pixels = reserve(len, "a network's input")?;
        pixels.resize(len, zero);
        preprocess_into(picture, &self.preprocess, &mut pixels).map_err(|error| match error {
            vs_vision::Error::OutOfMemory { .. } => Error::new(ErrorKind::OutOfMemory, error.to_string()),
            error => Error::limit(error.to_string()),
        })?;
        Ok(pixels)
    }

    /// One vector for each of `pictures`. `cancelled` is asked before every run.
    pub(crate) fn embed(&self, pictures: &[Prepared], cancelled: &mut dyn FnMut() -> bool) -> Result<Vec<Vec<f32>>> {
        let mut vectors = reserve(pictures.len(), "embeddings")?;
        for batch in pictures.chunks(self.batch) {
            if cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "cancelled"));
            }
            let tensor = self.run(batch)?;
            let found = self.pool.vectors(&tensor, self.rows(batch.len()), batch.len(), None)?;
            if let Some(vector) = found.iter().find(|vector| vector.len() != self.dims) {
                let message = format!("the network gave {} dimensions in place of {}", vector.len(), self.dims);
                return Err(Error::new(ErrorKind::BadOutput, message));
            }
            vectors.extend(found);
        }
        Ok(vectors)
    }

    /// Pictures the network is fed for `wanted` ones.
    fn rows(&self, wanted: usize) -> usize {
        self.fixed_batch.unwrap_or(wanted)
    }

    fn run(&self, pictures: &[Prepared]) -> Result<Tensor> {
        let rows = self.rows(pictures.len());
        let (width, height) = self.preprocess.output_size();
        let (width, height) = (i64::from(width), i64::from(height));
        let shape = match self.preprocess.layout {
            Layout::Nchw => vec![rows as i64, 3, height, width],
            Layout::Nhwc => vec![rows as i64, height, width, 3],
        };
        let len = self.preprocess.output_len();
        let (mut f32s, mut f16s, mut u8s) = (Vec::new(), Vec::new(), Vec::new());
        let values = match self.element {
            Element::F16 => Values::F16(gather(pictures, rows, len, &mut f16s, |pixels| match pixels {
                Pixels::F16(pixels) => Some(pixels),
                _ => None,
            })?),
            Element::U8 => Values::U8(gather(pictures, rows, len, &mut u8s, |pixels| match pixels {
                Pixels::U8(pixels) => Some(pixels),
                _ => None,
            })?),
            _ => Values::F32(gather(pictures, rows, len, &mut f32s, |pixels| match pixels {
                Pixels::F32(pixels) => Some(pixels),
                _ => None,
            })?),
        };
        self.session.run(&[Feed { name: &self.input, shape, values }])
    }
}

/// The pixels of all pictures one after the other, the last one repeated up to `rows`. A single picture is not copied.
fn gather<'a, T: Copy>(
    pictures: &'a [Prepared],
    rows: usize,
    len: usize,
    space: &'a mut Vec<T>,
    of: impl Fn(&Pixels) -> Option<&Vec<T>>,
) -> Result<&'a [T]> {
    let foreign = || Error::new(ErrorKind::RunFailed, "the pictures were prepared for another model");
    let mut each =
        pictures.iter().map(|Prepared(pixels)| of(pixels).filter(|pixels| pixels.len() == len).ok_or_else(foreign));
    if rows == 1 {
        return each.next().ok_or_else(foreign)?.map(Vec::as_slice);
    }
    *space = reserve(rows * len, "a batch of pictures")?;
    for pixels in each {
        space.extend_from_slice(pixels?);
    }
    let last = space.len().checked_sub(len).ok_or_else(foreign)?;
    while space.len() < rows * len {
        space.extend_from_within(last..last + len);
    }
    Ok(space)
}

/// The input that takes pictures.
fn input<'a>(session: &'a Session, spec: &ImageSpec) -> Result<&'a Port> {
    let inputs = session.inputs();
    let names = || inputs.iter().map(|port| format!("\"{}\"", port.name)).collect::<Vec<_>>().join(", ");
    let input = match &spec.input {
        Some(name) => inputs.iter().find(|port| port.name == *name),
        None => inputs.first().filter(|_| inputs.len() == 1),
    };
    match input {
        Some(input) if inputs.len() == 1 => Ok(input),
        Some(_) => Err(Error::invalid(format!("the image network needs several inputs: {}", names()))),
        None => Err(Error::invalid(format!(
            "the image network has the inputs {}{}",
            names(),
            spec.input.as_ref().map_or(String::new(), |name| format!(", not \"{name}\""))
        ))),
    }
}

/// The preprocessing for an input of bytes. Graphs that take bytes scale them themselves, so that is left out where it is
/// only the default, or was meant for the network before it was exported. Anything else must leave samples apart: the
/// usual scale turns all of them into 0 or 1.
fn for_bytes(spec: &ImageSpec) -> Result<Preprocess> {
    let (given, default) = (&spec.preprocess, Preprocess::default());
    let is_default = (given.scale, given.mean, given.std) == (default.scale, default.mean, default.std);
    if is_default || spec.classifier.is_some() {
        return Ok(Preprocess { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..given.clone() });
    }
    for channel in 0..3 {
        let value = |sample: u8| (f32::from(sample) * given.scale - given.mean[channel]) / given.std[channel];
        let mut values: Vec<u8> = (0..=u8::MAX).map(|sample| value(sample).round() as u8).collect();
        values.dedup();
        if values.len() < 64 {
            return Err(Error::invalid(format!(
                "the input takes bytes, of which \"scale\", \"mean\" and \"std\" leave {} different ones",
                values.len()
            ))
            .with_hint("Without them, samples are fed as they are."));
        }
    }
    Ok(given.clone())
}

/// The most pictures, or texts, that a graph may fix the size of a batch to.
pub(crate) const MAX_BATCH: usize = 1024;
/// The most values of one input: a batch of the largest pictures in use.
const MAX_INPUT: usize = 1 << 28;

/// Refuses a batch that nobody wants to fill for one picture. `len` are the values of one.
fn check_batch(batch: Option<usize>, len: usize) -> Result<()> {
    let Some(batch) = batch else { return Ok(()) };
    if batch > MAX_BATCH || batch.checked_mul(len).is_none_or(|values| values > MAX_INPUT) {
        return Err(Error::limit(format!("the graph takes {batch} pictures at a time, which is too many")));
    }
    Ok(())
}

/// Holds the input against what preprocessing makes; gives its element type and its batch size, where it is fixed.
fn check_input(port: &Port, preprocess: &Preprocess) -> Result<(Element, Option<usize>)> {
    let element = port.element.filter(|element| matches!(element, Element::F32 | Element::F16 | Element::U8));
    let Some(element) = element else {
        return Err(Error::invalid(format!(
            "the input \"{}\" has type {}; float32, float16 and uint8 can be fed",
            port.name, port.type_name
        )));
    };
    let (width, height) = preprocess.output_size();
    let (width, height) = (i64::from(width), i64::from(height));
    let (layout, made) = match preprocess.layout {
        Layout::Nchw => ("nchw", [3, height, width]),
        Layout::Nhwc => ("nhwc", [height, width, 3]),
    };
    match port.shape.as_deref() {
        Some([batch, axes @ ..])
            if axes.len() == 3 && axes.iter().zip(made).all(|(&axis, made)| axis < 0 || axis == made) =>
        {
            let batch = usize::try_from(*batch).ok().filter(|&batch| batch > 0);
            check_batch(batch, preprocess.output_len())?;
            Ok((element, batch))
        }
        shape => Err(Error::invalid(format!(
            "the input \"{}\" has shape {:?}, and preprocessing makes [batch, {}, {}, {}] (layout {layout})",
            port.name,
            shape.unwrap_or(&[]),
            made[0],
            made[1],
            made[2]
        ))),
    }
}

/// A picture to try a network on: 640 × 480, colours and edges in every direction.
pub(crate) fn sample() -> Result<Rgb> {
    const WIDTH: u32 = 640;
    const HEIGHT: u32 = 480;
    let mut data = reserve((WIDTH * HEIGHT * 3) as usize, "a picture")?;
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let square = if (x / 40 + y / 40) % 2 == 0 { 40 } else { 0 };
            data.extend([
                (x * 200 / WIDTH + square) as u8,
                (y * 200 / HEIGHT + square) as u8,
                ((x + y) % 216 + square) as u8,
            ]);
        }
    }
    Rgb::new(WIDTH, HEIGHT, data).map_err(|error| Error::invalid(error.to_string()))
}
