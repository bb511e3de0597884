//! Which tensor of a graph is the embedding, and how many dimensions that has as far as the graph says.

use std::borrow::Cow;

use crate::{
    error::{Error, Result},
    graph::Graph,
    manifest::{ImageSpec, Outputs, Pooling, TextSpec},
    pool::Pool,
};

/// Outputs that exports of image networks give, the most embedding-like first.
const IMAGE_OUTPUTS: &[&str] =
    &["image_embeds", "image_embeddings", "pooler_output", "embedding", "embeddings", "last_hidden_state"];
/// The same for text networks.
const TEXT_OUTPUTS: &[&str] = &[
    "text_embeds",
    "text_embeddings",
    "sentence_embedding",
    "pooler_output",
    "embedding",
    "embeddings",
    "last_hidden_state",
];

/// The tensor to read the embedding from: the first of those `asked` for that the graph computes; where none is asked
/// for, the only output, or the first of the `usual` ones. A graph with other outputs that is known to be a classifier
/// is cut behind its last layer.
fn choose<'a>(graph: &Graph<'a>, asked: &Outputs, usual: &[&str], classifier: bool) -> Result<Cow<'a, str>> {
    let declared = graph.outputs();
    let known = || declared.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if let Some(found) = asked.0.iter().find(|name| graph.computes(name)) {
        return Ok(Cow::Owned(found.clone()));
    }
    let scores = declared.iter().copied().find(|name| *name == "logits" || declared.len() == 1);
    if let Some(scores) = scores.filter(|_| classifier) {
        return Ok(Cow::Borrowed(graph.behind_classifier(scores).unwrap_or(scores)));
    }
    if !asked.is_empty() {
        let message =
            format!("the graph computes no tensor \"{}\"; its outputs are {}", asked.0.join("\", \""), known());
        return Err(Error::invalid(message));
    }
    if let [only] = declared[..] {
        return Ok(Cow::Borrowed(only));
    }
    let found = usual.iter().find_map(|usual| declared.iter().find(|name| *name == usual));
    found.map(|name| Cow::Borrowed(*name)).ok_or_else(|| {
        Error::invalid(format!("the graph has {} outputs, {}; the manifest must name one", declared.len(), known()))
    })
}

/// The tensor that an image side reads its embedding from.
pub(crate) fn of_image<'a>(graph: &Graph<'a>, spec: &ImageSpec) -> Result<Cow<'a, str>> {
    choose(graph, &spec.output, IMAGE_OUTPUTS, spec.behind_classifier)
}

/// The tensor that a text side reads its embedding from.
pub(crate) fn of_text<'a>(graph: &Graph<'a>, spec: &TextSpec) -> Result<Cow<'a, str>> {
    choose(graph, &spec.output, TEXT_OUTPUTS, false)
}

/// The dimensions of an image side's embedding, if the graph declares them.
pub(crate) fn dims_of_image(graph: &Graph<'_>, spec: &ImageSpec) -> Option<usize> {
    let shape = graph.declared_shape(&of_image(graph, spec).ok()?)?;
    let pooling = spec.pooling.unwrap_or(Pool::by_rank(shape.len(), Pooling::Cls));
    Pool { pooling, layout: spec.layout.unwrap_or(spec.preprocess.layout), normalize: false }.dims(&shape)
}

/// The dimensions of a text side's embedding, if the graph declares them.
pub(crate) fn dims_of_text(graph: &Graph<'_>, spec: &TextSpec) -> Option<usize> {
    let shape = graph.declared_shape(&of_text(graph, spec).ok()?)?;
    let pooling = spec.pooling.unwrap_or(Pool::by_rank(shape.len(), Pooling::MeanTokens));
    Pool { pooling, layout: vs_vision::Layout::Nchw, normalize: false }.dims(&shape)
}
