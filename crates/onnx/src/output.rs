//! Which tensor of a graph is the embedding, and how many dimensions that has as far as the graph says.

use std::borrow::Cow;

use crate::{
    error::{Error, Result},
    graph::Graph,
    manifest::{Classifier, ImageSpec, Outputs, Pooling, TextSpec},
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

/// What exports of classifiers call their scores.
const LOGITS: &str = "logits";

/// The tensor to read the embedding from: the first of those `asked` for that the graph computes; where none is asked
/// for, the only output, or the first of the `usual` ones. A classifier is cut behind its last layer.
fn choose<'a>(
    graph: &Graph<'a>,
    asked: &Outputs,
    usual: &[&str],
    classifier: Option<Classifier>,
) -> Result<Cow<'a, str>> {
    let declared = graph.outputs();
    let known = || declared.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if let Some(found) = asked.0.iter().find(|name| graph.computes(name)) {
        return Ok(Cow::Owned(found.clone()));
    }
    let only = declared.iter().copied().find(|name| *name == LOGITS || declared.len() == 1);
    if let (Some(only), Some(classifier)) = (only, classifier) {
        let width = graph.declared_shape(only).and_then(|shape| *shape.last()?);
        let counts = classifier.classes.is_some_and(|classes| width.is_none_or(|width| width == classes));
        return match graph.behind_classifier(only) {
            Some(features) if only == LOGITS || classifier.certain || counts => Ok(Cow::Borrowed(features)),
            // Class scores look like an embedding, and are a poor one.
            None if only == LOGITS || (classifier.certain && counts) => Err(Error::invalid(format!(
                "\"{only}\" are the scores of a classifier, and its last layer is none that is known"
            ))
            .with_hint("A manifest.json in the model's folder can name the tensor that is the embedding.")),
            _ => Ok(Cow::Borrowed(only)),
        };
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
    choose(graph, &spec.output, IMAGE_OUTPUTS, spec.classifier)
}

/// The tensor that a text side reads its embedding from.
pub(crate) fn of_text<'a>(graph: &Graph<'a>, spec: &TextSpec) -> Result<Cow<'a, str>> {
    choose(graph, &spec.output, TEXT_OUTPUTS, None)
}

/// The dimensions of an image side's embedding, if the graph declares them.
pub(crate) fn dims_of_image(graph: &Graph<'_>, spec: &ImageSpec) -> Option<usize> {
    let shape = graph.declared_shape(&of_image(graph, spec).ok()?)?;
    let pooling = spec.pooling.unwrap_or(Pool::by_rank(shape.len(), spec.tokens.into()));
    Pool { pooling, layout: spec.layout.unwrap_or(spec.preprocess.layout), normalize: false }.dims(&shape)
}

/// The dimensions of a text side's embedding, if the graph declares them.
pub(crate) fn dims_of_text(graph: &Graph<'_>, spec: &TextSpec) -> Option<usize> {
    let shape = graph.declared_shape(&of_text(graph, spec).ok()?)?;
    let pooling = spec.pooling.unwrap_or(Pool::by_rank(shape.len(), Pooling::MeanTokens));
    Pool { pooling, layout: vs_vision::Layout::Nchw, normalize: false }.dims(&shape)
}
