//! What a model consists of and how it is to be run: read from our own `manifest.json`, or worked out from the
//! configuration files of a Hugging Face export.
//!
//! Both end in one [`Spec`]. A `manifest.json` decides alone where there is one; every other file is then just data.

mod hf;
mod native;

use serde::{Deserialize, Serialize};
use vs_vision::{Layout, Preprocess};

use crate::{
    bundle::{Files, check_relative},
    error::{Error, Result},
};

/// The most elements an embedding can have.
pub const MAX_DIMS: usize = 16_000;

/// A model's specification. Serialises to what a person wants to see described.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    /// What the specification was read from.
    pub source: &'static str,
    /// What its makers call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the model is, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Under which terms its weights may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Elements of an embedding, where the files say so; a loaded model knows it in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dims: Option<usize>,
    /// The network that embeds pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
    /// The network that embeds texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSpec>,
    /// The files named so far; files of weights that an ONNX file names come on top.
    #[serde(skip)]
    pub(crate) files: Vec<String>,
}

impl Spec {
    /// How the files of a model without a manifest are understood, in a form that stays the same as long as that does.
    pub(crate) fn understood(&self) -> Result<Option<Vec<u8>>> {
        if self.source == native::FILE {
            return Ok(None);
        }
        let sides = serde_json::to_vec(&(&self.image, &self.text));
        sides.map(Some).map_err(|error| Error::invalid(error.to_string()))
    }
}

/// The image side of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// The ONNX file.
    pub file: String,
    /// The input that takes the picture; the only one if not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The tensor that holds the embedding.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub output: Outputs,
    /// How a picture becomes the input: size, crop, filter, channel order, scale, mean, deviation, order of axes. The
    /// element type is the graph's.
    pub preprocess: Preprocess,
    /// The order of axes of a feature map that is pooled; the input's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// How the output becomes one vector; by the output's rank if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1.
    #[serde(default)]
    pub normalize: bool,
    /// Where the network may be a classifier, how to tell: its embedding is then what its last linear layer reads.
    #[serde(skip)]
    pub(crate) classifier: Option<Classifier>,
    /// How an output that is a sequence of tokens becomes one vector.
    #[serde(skip)]
    pub(crate) tokens: Tokens,
}

/// What is known of a network that may be a classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classifier {
    /// It is one by its own words.
    pub(crate) certain: bool,
    /// The number of classes, if it has any.
    pub(crate) classes: Option<usize>,
}

/// How a sequence of tokens becomes one vector where nothing is said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// The first one is the class token.
    #[default]
    Cls,
    /// There is no class token: the mean.
    Mean,
}

impl From<Tokens> for Pooling {
    fn from(tokens: Tokens) -> Self {
        match tokens {
            Tokens::Cls => Pooling::Cls,
            Tokens::Mean => Pooling::MeanTokens,
        }
    }
}

/// The text side of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// The ONNX file; may be the image side's.
    pub file: String,
    /// The tokenizer, in the format of the Hugging Face `tokenizers` library.
    pub tokenizer: String,
    /// Names of the inputs, where they are not the usual ones.
    #[serde(default)]
    pub inputs: TextInputs,
    /// The tensor that holds the embedding.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub output: Outputs,
    /// Tokens a text is cut to, special ones included; what the tokenizer's file says if not given, else 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// What is done with texts that have fewer tokens.
    #[serde(default)]
    pub padding: Padding,
    /// The token that pads; what the tokenizer's file says if not given, else 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_id: Option<u32>,
    /// Whether texts are lower-cased before the tokenizer sees them.
    #[serde(default)]
    pub lowercase: bool,
    /// How the output becomes one vector; by the output's rank if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1.
    #[serde(default)]
    pub normalize: bool,
}

/// Names of a text network's inputs. One that the graph lacks is not fed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextInputs {
    /// Takes the token numbers.
    pub ids: String,
    /// Takes 1 for a token and 0 for padding.
    pub mask: String,
    /// Takes the segment of a token, always 0 here.
    pub types: String,
    /// Takes the position of a token, from 0.
    pub positions: String,
}

impl Default for TextInputs {
    fn default() -> Self {
        TextInputs {
            ids: "input_ids".to_owned(),
            mask: "attention_mask".to_owned(),
            types: "token_type_ids".to_owned(),
            positions: "position_ids".to_owned(),
        }
    }
}

/// The tensor an embedding is read from: a declared output or any tensor inside the graph. Several names stand for the
/// first that the graph computes; none for its only output. In JSON a string or a list of strings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
pub struct Outputs(pub Vec<String>);

impl Outputs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Outputs {
    fn from(names: OneOrMany) -> Self {
        match names {
            OneOrMany::One(name) => Outputs(vec![name]),
            OneOrMany::Many(names) => Outputs(names),
        }
    }
}

impl From<Outputs> for OneOrMany {
    fn from(Outputs(mut names): Outputs) -> Self {
        if names.len() == 1 { OneOrMany::One(names.remove(0)) } else { OneOrMany::Many(names) }
    }
}

/// How a network's output becomes one vector per picture or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Everything behind the batch axis is the vector.
    None,
    /// The first token of `[batch, tokens, dims]`.
    Cls,
    /// The mean over the tokens of `[batch, tokens, dims]`; for texts over those that are no padding.
    MeanTokens,
    /// The mean over rows and columns of a feature map (global average pooling).
    Gap,
    /// The maximum over rows and columns of a feature map (global max pooling).
    Gmp,
}

/// What is done with a text of fewer than the most tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Nothing: texts of different lengths go into different runs.
    #[default]
    None,
    /// It is padded to the most tokens. So is every text where the graph fixes the number of tokens.
    Max,
}

/// Reads the specification of the model that `files` are.
pub(crate) fn read(files: &Files) -> Result<Spec> {
    if files.has(native::FILE)? {
        return native::read(files);
    }
    if hf::is_export(files)? {
        return hf::read(files);
    }
    Err(Error::invalid("it has neither a manifest.json nor the config.json of a Hugging Face export"))
}

/// Refuses what no model can be, whatever the specification was read from.
fn check(spec: &Spec) -> Result<()> {
    if spec.image.is_none() && spec.text.is_none() {
        return Err(Error::invalid("it has neither an image side nor a text side"));
    }
    if let Some(dims) = spec.dims
        && !(1..=MAX_DIMS).contains(&dims)
    {
        return Err(Error::limit(format!("it has {dims} dimensions; 1 to {MAX_DIMS} are possible")));
    }
    for name in &spec.files {
        check_relative(name)?;
    }
    Ok(())
}
