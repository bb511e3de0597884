//! The text side of a model: tokenizer and network.
//!
//! A text's vector must not depend on the texts it is computed with. So texts are never padded to the longest of a
//! batch: texts of equally many tokens go into one run, and padding is only what the model itself asks for, to one fixed
//! number of tokens.

use std::collections::BTreeMap;

use tokenizers::{PaddingDirection, Tokenizer, TruncationParams};
use vs_vision::Layout;

use crate::{
    error::{Error, ErrorKind, Result, reserve},
    image::MAX_BATCH,
    manifest::{Padding, Pooling, TextSpec},
    pool::Pool,
    runtime::guarded,
    session::{Element, Feed, Options, Session, Values},
};

/// Tokens a text is cut to where neither manifest nor tokenizer nor graph says.
const DEFAULT_TOKENS: usize = 512;
/// The most tokens a text may be cut to.
const MAX_TOKENS: usize = 8192;
/// The longest text taken, in bytes.
const MAX_TEXT: usize = 1 << 16;

/// What an input of the network is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Ids,
    Mask,
    Types,
    Positions,
}

/// An input of the network.
struct Input {
    role: Role,
    name: String,
    element: Element,
}

/// A loaded tokenizer and text network.
pub(crate) struct TextEncoder {
    session: Session,
    tokenizer: Tokenizer,
    inputs: Vec<Input>,
    batch: usize,
    /// The graph takes exactly this many texts at a time.
    fixed_batch: Option<usize>,
    /// Every text is padded to this many tokens.
    padded: Option<usize>,
    pad_id: u32,
    pad_left: bool,
    max_tokens: usize,
    lowercase: bool,
    pool: Pool,
    dims: usize,
}

impl TextEncoder {
    pub(crate) fn new(session: Session, tokenizer: &[u8], spec: &TextSpec, options: &Options) -> Result<Self> {
        let mut tokenizer = guarded(|| Tokenizer::from_bytes(tokenizer).map_err(|error| error.to_string()))
            .map_err(|reason| Error::invalid(format!("\"{}\" is no tokenizer: {reason}", spec.tokenizer)))?;

        let (inputs, axes) = inputs(&session, spec)?;
        let fixed = |axis: usize| usize::try_from(axes[axis]).ok().filter(|&size| size > 0);
        let (fixed_batch, fixed_tokens) = (fixed(0), fixed(1));
        if fixed_batch.is_some_and(|batch| batch > MAX_BATCH) || fixed_tokens.is_some_and(|tokens| tokens > MAX_TOKENS)
        {
            return Err(Error::limit(format!(
                "the graph takes texts of shape {axes:?}; {MAX_BATCH} of {MAX_TOKENS} tokens are possible"
            )));
        }

        let truncation = tokenizer.get_truncation().cloned().unwrap_or_default();
        let declared = tokenizer.get_truncation().map(|truncation| truncation.max_length);
        let max_tokens = spec.max_tokens.or(fixed_tokens).or(declared).unwrap_or(DEFAULT_TOKENS);
        if !(1..=MAX_TOKENS).contains(&max_tokens) {
            return Err(Error::limit(format!("texts are cut to {max_tokens} tokens; 1 to {MAX_TOKENS} are possible")));
        }
        if let Some(fixed) = fixed_tokens.filter(|&fixed| max_tokens > fixed) {
            return Err(Error::invalid(format!("texts are cut to {max_tokens} tokens, and the graph takes {fixed}")));
        }
        let padded = fixed_tokens.or((spec.padding == Padding::Max).then_some(max_tokens));
        let padding = tokenizer.get_padding().cloned();
        let pad_id = spec.pad_id.or(padding.as_ref().map(|padding| padding.pad_id)).unwrap_or(0);
        let pad_left = padding.is_some_and(|padding| matches!(padding.direction, PaddingDirection::Left));
        tokenizer.with_padding(None);
        guarded(|| {
            let truncation = TruncationParams { max_length: max_tokens, ..truncation };
            tokenizer.with_truncation(Some(truncation)).map(drop).map_err(|error| error.to_string())
        })
        .map_err(|reason| Error::invalid(format!("texts cannot be cut to {max_tokens} tokens: {reason}")))?;

        let pool = Pool { pooling: Pooling::None, layout: Layout::Nchw, normalize: spec.normalize };
        let batch = session.batch(fixed_batch.unwrap_or(options.batch));
        let mut encoder = TextEncoder {
            session,
            tokenizer,
            inputs,
            batch,
            fixed_batch,
            padded,
            pad_id,
            pad_left,
            max_tokens,
            lowercase: spec.lowercase,
            pool,
            dims: 0,
        };
        // A first run tells the shape of the output, which graphs often leave open, and warms up the session.
        let tokens = encoder.tokens("a photo")?;
        let mut first = encoder.run(&[&tokens]);
        // Some graphs take one number of tokens only and do not say so: the most there can be.
        if first.is_err() && encoder.padded.is_none() && spec.max_tokens.is_some() {
            encoder.padded = Some(max_tokens);
            first = encoder.run(&[&tokens]).or(first);
        }
        let rank = first?.0.shape.len();
        encoder.pool.pooling = spec.pooling.unwrap_or(Pool::by_rank(rank, Pooling::MeanTokens));
        encoder.dims = encoder.vectors(&[&tokens])?[0].len();
        Ok(encoder)
    }

    /// Elements of a vector.
    pub(crate) fn dims(&self) -> usize {
        self.dims
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn pooling(&self) -> Pooling {
        self.pool.pooling
    }

    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    pub(crate) fn padded(&self) -> Option<usize> {
        self.padded
    }

    /// Token numbers of a text, cut but not padded.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT {
            return Err(Error::limit(format!("the text has {} bytes, the limit is {MAX_TEXT}", text.len())));
        }
        // Letter by letter, as tokenizers do it: the Greek final sigma is no exception.
        let lower = self.lowercase.then(|| text.chars().flat_map(char::to_lowercase).collect::<String>());
        let text = lower.as_deref().unwrap_or(text);
        let encoding = guarded(|| self.tokenizer.encode(text, true).map_err(|error| error.to_string()))
            .map_err(|reason| Error::new(ErrorKind::RunFailed, format!("the tokenizer failed: {reason}")))?;
        // A text without a token counts as one of padding, so that there is something to average.
        let ids = encoding.get_ids();
        Ok(if ids.is_empty() { vec![self.pad_id] } else { ids.to_vec() })
    }

    /// One vector for each of `texts`. `cancelled` is asked before every run.
    pub(crate) fn embed(&self, texts: &[&str], cancelled: &mut dyn FnMut() -> bool) -> Result<Vec<Vec<f32>>> {
        let mut by_len: BTreeMap<usize, Vec<(usize, Vec<u32>)>> = BTreeMap::new();
        for (at, text) in texts.iter().enumerate() {
            let tokens = self.tokens(text)?;
            by_len.entry(if self.padded.is_some() { 0 } else { tokens.len() }).or_default().push((at, tokens));
        }
        let mut vectors = vec![Vec::new(); texts.len()];
        for group in by_len.values() {
            for batch in group.chunks(self.batch) {
                if cancelled() {
                    return Err(Error::new(ErrorKind::Cancelled, "cancelled"));
                }
                let tokens: Vec<&Vec<u32>> = batch.iter().map(|(_, tokens)| tokens).collect();
                for ((at, _), vector) in batch.iter().zip(self.vectors(&tokens)?) {
                    vectors[*at] = vector;
                }
            }
        }
        Ok(vectors)
    }

    fn vectors(&self, texts: &[&Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let (tensor, batch, len) = self.run(texts)?;
        if self.pool.pooling != Pooling::MeanTokens {
            return self.pool.vectors(&tensor, batch, texts.len(), None);
        }
        // Each text counts its own tokens.
        let all = texts.iter().enumerate().map(|(at, tokens)| {
            let skip = if self.pad_left { len - tokens.len() } else { 0 };
            let mut vectors = self.pool.vectors(&tensor, batch, at + 1, Some((skip, tokens.len())))?;
            vectors.pop().ok_or_else(|| Error::new(ErrorKind::BadOutput, "the network returned nothing"))
        });
        all.collect()
    }

    /// Runs texts that have equally many tokens, or are padded. Gives the output, the texts in it, and the tokens each
    /// of them took.
    fn run(&self, texts: &[&Vec<u32>]) -> Result<(crate::session::Tensor, usize, usize)> {
        let len = self.padded.unwrap_or_else(|| texts.iter().map(|tokens| tokens.len()).max().unwrap_or(0)).max(1);
        let batch = self.fixed_batch.unwrap_or(texts.len());
        // Rows that a fixed batch has too many repeat the last text.
        let rows: Vec<&Vec<u32>> = (0..batch).filter_map(|row| texts.get(row).or(texts.last()).copied()).collect();
        let shape = vec![batch as i64, len as i64];
        let mut wide: Vec<Vec<i64>> = Vec::new();
        let mut narrow: Vec<Vec<i32>> = Vec::new();
        for input in &self.inputs {
            let values = rows.iter().flat_map(|tokens| (0..len).map(|at| self.value(input.role, tokens, at, len)));
            let is_narrow = input.element == Element::I32;
            let mut wide_values = reserve(if is_narrow { 0 } else { batch * len }, "a batch of texts")?;
            let mut narrow_values = reserve(if is_narrow { batch * len } else { 0 }, "a batch of texts")?;
            if is_narrow {
                narrow_values.extend(values.map(|value| value as i32));
            } else {
                wide_values.extend(values);
            }
            narrow.push(narrow_values);
            wide.push(wide_values);
        }
        let feeds: Vec<Feed<'_>> = (self.inputs.iter().zip(&wide).zip(&narrow))
            .map(|((input, wide), narrow)| Feed {
                name: &input.name,
                shape: shape.clone(),
                values: if input.element == Element::I32 { Values::I32(narrow) } else { Values::I64(wide) },
            })
            .collect();
        Ok((self.session.run(&feeds)?, batch, len))
    }

    /// What an input holds at position `at` of `len`.
    fn value(&self, role: Role, tokens: &[u32], at: usize, len: usize) -> i64 {
        let shift = if self.pad_left { len - tokens.len().min(len) } else { 0 };
        let token = at.checked_sub(shift).and_then(|at| tokens.get(at));
        match role {
            Role::Ids => i64::from(*token.unwrap_or(&self.pad_id)),
            Role::Mask => i64::from(token.is_some()),
            Role::Types => 0,
            Role::Positions => at as i64,
        }
    }
}

/// What each input of the network is fed with, and the sizes of the axes of the one that takes the tokens.
fn inputs(session: &Session, spec: &TextSpec) -> Result<(Vec<Input>, [i64; 2])> {
    let names = &spec.inputs;
    let alone = session.inputs().len() == 1;
    let mut inputs = Vec::new();
    let mut axes = None;
    for port in session.inputs() {
        let role = match port.name.as_str() {
            name if name == names.ids || alone => Role::Ids,
            name if name == names.mask => Role::Mask,
            name if name == names.types => Role::Types,
            name if name == names.positions => Role::Positions,
            name => {
                return Err(Error::invalid(format!(
                    "nothing is known to feed the input \"{name}\" of the text network with"
                )));
            }
        };
        let element = port.element.filter(|element| matches!(element, Element::I32 | Element::I64));
        let (Some(element), Some([batch, tokens])) = (element, port.shape.as_deref()) else {
            return Err(Error::invalid(format!(
                "the input \"{}\" of the text network has type {} and shape {:?}; integers of shape [batch, tokens] are fed",
                port.name,
                port.type_name,
                port.shape.as_deref().unwrap_or(&[])
            )));
        };
        if role == Role::Ids {
            axes = Some([*batch, *tokens]);
        }
        inputs.push(Input { role, name: port.name.clone(), element });
    }
    let axes =
        axes.ok_or_else(|| Error::invalid(format!("the text network has no input \"{}\" for the tokens", names.ids)))?;
    Ok((inputs, axes))
}
