//! What an ONNX file says about its graph, and cutting out the part that leads to one tensor.
//!
//! An ONNX file is a protobuf `ModelProto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>) that holds one
//! graph: nodes that name the tensors they read and write, initializers (the weights), and the graph's own inputs and
//! outputs. ONNX Runtime can return only what the file declares as an output, and it wants every declared input to be
//! fed. [`Graph::extract`] therefore writes a smaller model whose only output is the tensor asked for: it walks back
//! from that tensor over the nodes that make it, and keeps those nodes, the weights they use and the inputs they read.
//! That serves two ends at once: any intermediate tensor can be the embedding ("cut the classifier off") without
//! paying for the layers behind it, and a file that holds an image and a text network falls into its two halves.

mod fields;
mod shape;
mod wire;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use crate::error::{Error, Result, reserve};
use fields::{ENTRY_VALUE, NAME, attribute, graph, model, node, sparse, tensor};
use wire::{Field, Fields, damaged, put_header};

/// Nodes a graph may have, nested ones included: ten times the largest published vision models.
const MAX_NODES: usize = 1 << 18;
/// Tensor names all nodes may mention together.
const MAX_NAMES: usize = 1 << 21;
/// How deep graphs may nest in the attributes of control-flow nodes.
const MAX_DEPTH: usize = 16;

/// One node: the bytes of its field in the graph, its operator, and the tensors it reads and writes.
struct Node<'a> {
    raw: &'a [u8],
    operator: &'a str,
    /// Inputs of the node and whatever the graphs in its attributes may read from outside.
    reads: Vec<&'a str>,
    writes: Vec<&'a str>,
}

/// A named part of the graph: a weight, an input, an output, a type annotation.
#[derive(Clone, Copy)]
struct Named<'a> {
    name: &'a str,
    raw: &'a [u8],
}

/// A view of an ONNX file; borrows the file's bytes.
pub(crate) struct Graph<'a> {
    bytes: &'a [u8],
    /// Fields of the model other than the graph.
    frame: Vec<&'a [u8]>,
    /// Fields of the graph that concern no tensor: names, doc strings, metadata.
    other: Vec<&'a [u8]>,
    nodes: Vec<Node<'a>>,
    weights: Vec<Named<'a>>,
    inputs: Vec<Named<'a>>,
    outputs: Vec<Named<'a>>,
    infos: Vec<Named<'a>>,
    quantizations: Vec<Named<'a>>,
    external: Vec<&'a str>,
}

impl<'a> Graph<'a> {
    /// Takes `bytes` apart. Fails on what is no protobuf, has no graph, or exceeds the limits of this module; whether
    /// the graph makes sense is for ONNX Runtime to say.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut this = Graph {
            bytes,
            frame: Vec::new(),
            other: Vec::new(),
            nodes: Vec::new(),
            weights: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            infos: Vec::new(),
            quantizations: Vec::new(),
            external: Vec::new(),
        };
        let mut scan = Scan::default();
        let mut found = false;
        for field in Fields::of(bytes) {
            let field = field?;
            if field.number == model::GRAPH {
                // A repeated message field is merged by protobuf parsers, so several graphs are one.
                found = true;
                this.read_graph(field.value.bytes(), &mut scan)?;
            } else {
                push(&mut this.frame, field.raw, MAX_NAMES, "fields")?;
            }
        }
        if !found || this.nodes.is_empty() {
            return Err(damaged("it holds no graph"));
        }
        scan.external.sort_unstable();
        scan.external.dedup();
        this.external = scan.external;
        Ok(this)
    }

    fn read_graph(&mut self, bytes: &'a [u8], scan: &mut Scan<'a>) -> Result<()> {
        for field in Fields::of(bytes) {
            let field = field?;
            let raw = field.raw;
            let message = field.value.bytes();
            match field.number {
                graph::NODE => {
                    let mut node = Node { raw, operator: "", reads: Vec::new(), writes: Vec::new() };
                    node.operator = scan.node(message, &mut node.reads, &mut node.writes, 0)?;
                    self.nodes.push(node);
                }
                graph::INITIALIZER => {
                    let name = scan.tensor(message)?;
                    push(&mut self.weights, Named { name, raw }, MAX_NAMES, "weights")?;
                }
                graph::SPARSE_INITIALIZER => {
                    let name = scan.sparse(message)?;
                    push(&mut self.weights, Named { name, raw }, MAX_NAMES, "weights")?;
                }
                graph::INPUT => push(&mut self.inputs, named(field)?, MAX_NAMES, "inputs")?,
                graph::OUTPUT => push(&mut self.outputs, named(field)?, MAX_NAMES, "outputs")?,
                graph::VALUE_INFO => push(&mut self.infos, named(field)?, MAX_NAMES, "annotations")?,
                graph::QUANTIZATION => push(&mut self.quantizations, named(field)?, MAX_NAMES, "annotations")?,
                _ => push(&mut self.other, raw, MAX_NAMES, "fields")?,
            }
        }
        Ok(())
    }

    /// Names of the tensors a caller feeds, in file order: declared inputs that are no weights.
    pub(crate) fn inputs(&self) -> Vec<&'a str> {
        let weights: HashSet<&str> = self.weights.iter().map(|weight| weight.name).collect();
        self.inputs.iter().map(|input| input.name).filter(|name| !weights.contains(name)).collect()
    }

    /// Names of the declared outputs, in file order.
    pub(crate) fn outputs(&self) -> Vec<&'a str> {
        self.outputs.iter().map(|output| output.name).collect()
    }

    /// The axes that the graph declares for its output `name`, nothing for open ones; nothing if it declares none.
    pub(crate) fn declared_shape(&self, name: &str) -> Option<Vec<Option<usize>>> {
        let output = self.outputs.iter().find(|output| output.name == name)?;
        shape::declared(Fields::of(output.raw).next()?.ok()?.value.bytes())
    }

    /// Relative names of the files that hold weights outside of this one, sorted, as the file spells them.
    pub(crate) fn external_files(&self) -> &[&'a str] {
        &self.external
    }

    /// Whether some node writes a tensor called `name`.
    pub(crate) fn computes(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.writes.contains(&name))
    }

    /// Whether some node's result for one item of a batch depends on the others: a scale that is taken from the values of
    /// the whole batch, as dynamic quantisation does.
    pub(crate) fn mixes_items(&self) -> bool {
        const MIXING: [&str; 3] = ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"];
        self.nodes.iter().any(|node| MIXING.contains(&node.operator))
    }

    /// The tensor that the last linear layer before `output` reads: the features behind a classifier's scores. Nothing
    /// where no linear layer ends the graph.
    pub(crate) fn behind_classifier(&self, output: &str) -> Option<&'a str> {
        let source = |name: &str| self.nodes.iter().find(|node| node.writes.contains(&name));
        let mut node = source(output)?;
        // From the scores back: probabilities, shapes, bias, and, in quantised models, the scale.
        for _ in 0..8 {
            let data = *node.reads.first()?;
            let next = match node.operator {
                "Gemm" | "MatMul" => {
                    return node.reads.get(1).is_some_and(|name| self.is_constant(name, 4)).then_some(data);
                }
                "MatMulInteger" => {
                    let quantized = source(data).filter(|node| node.operator == "DynamicQuantizeLinear")?;
                    return quantized.reads.first().copied();
                }
                "Add" => *node.reads.iter().find(|name| !self.is_constant(name, 4))?,
                "Softmax" | "LogSoftmax" | "Sigmoid" | "Identity" | "Cast" | "Reshape" | "Squeeze" | "Flatten"
                | "Mul" => data,
                _ => return None,
            };
            node = source(next)?;
        }
        None
    }

    /// Whether a tensor is a weight, or made of weights in at most `steps` steps.
    fn is_constant(&self, name: &str, steps: usize) -> bool {
        if self.weights.iter().any(|weight| weight.name == name) {
            return true;
        }
        let source = self.nodes.iter().find(|node| node.writes.contains(&name));
        source.is_some_and(|node| {
            node.operator == "Constant"
                || steps > 0
                    && !node.reads.is_empty()
                    && node.reads.iter().all(|name| name.is_empty() || self.is_constant(name, steps - 1))
        })
    }

    /// The bytes of a model whose only output is the tensor `output`, and whose inputs are those it depends on.
    /// Borrows the file where that is what the file already is.
    pub(crate) fn extract(&self, output: &str) -> Result<Cow<'a, [u8]>> {
        let mut writer: HashMap<&str, usize> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            writer.extend(node.writes.iter().filter(|name| !name.is_empty()).map(|name| (*name, index)));
        }
        let Some(&last) = writer.get(output) else {
            return Err(Error::invalid(format!("the graph computes no tensor \"{output}\"")));
        };

        let mut keep = vec![false; self.nodes.len()];
        let mut wanted: HashSet<&str> = HashSet::from([output]);
        let mut queue = vec![last];
        keep[last] = true;
        while let Some(index) = queue.pop() {
            for &name in &self.nodes[index].reads {
                if wanted.insert(name)
                    && let Some(&source) = writer.get(name)
                    && !std::mem::replace(&mut keep[source], true)
                {
                    queue.push(source);
                }
            }
        }
        let needs_all = self.inputs().iter().all(|name| wanted.contains(name));
        if needs_all && self.outputs.len() == 1 && self.outputs[0].name == output && keep.iter().all(|&kept| kept) {
            return Ok(Cow::Borrowed(self.bytes));
        }

        let kept_nodes = || self.nodes.iter().zip(&keep).filter(|(_, kept)| **kept).map(|(node, _)| node);
        for node in kept_nodes() {
            wanted.extend(node.writes.iter());
        }
        let of_use = |list: &[Named<'a>]| -> Vec<&'a [u8]> {
            list.iter().filter(|item| wanted.contains(item.name)).map(|item| item.raw).collect()
        };
        let mut parts: Vec<&[u8]> = kept_nodes().map(|node| node.raw).collect();
        parts.extend(&self.other);
        parts.extend(of_use(&self.weights));
        parts.extend(of_use(&self.inputs));
        parts.extend(of_use(&self.infos));
        parts.extend(of_use(&self.quantizations));

        // The declared output is kept as it is; an intermediate tensor is declared by name, its type inferred.
        let mut declared = Vec::new();
        match self.outputs.iter().find(|item| item.name == output) {
            Some(item) => declared.extend_from_slice(item.raw),
            None => {
                let mut info = Vec::new();
                put_header(&mut info, NAME, output.len());
                info.extend_from_slice(output.as_bytes());
                put_header(&mut declared, graph::OUTPUT, info.len());
                declared.extend_from_slice(&info);
            }
        }
        parts.push(&declared);

        let graph_len: usize = parts.iter().map(|part| part.len()).sum();
        let frame_len: usize = self.frame.iter().map(|part| part.len()).sum();
        let mut bytes = reserve(frame_len + graph_len + 16, "a part of the model")?;
        self.frame.iter().for_each(|part| bytes.extend_from_slice(part));
        put_header(&mut bytes, model::GRAPH, graph_len);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(Cow::Owned(bytes))
    }
}

/// Collects what is counted over the whole file: nodes, names, files of external weights.
#[derive(Default)]
struct Scan<'a> {
    nodes: usize,
    names: usize,
    external: Vec<&'a str>,
}

impl<'a> Scan<'a> {
    fn node(
        &mut self,
        bytes: &'a [u8],
        reads: &mut Vec<&'a str>,
        writes: &mut Vec<&'a str>,
        depth: usize,
    ) -> Result<&'a str> {
        let mut operator = "";
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Error::limit(format!("the graph has more than {MAX_NODES} nodes")));
        }
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                node::INPUT => self.name(field, reads)?,
                node::OUTPUT => self.name(field, writes)?,
                node::OPERATOR => operator = field.value.text()?,
                node::ATTRIBUTE => self.attribute(field.value.bytes(), reads, depth)?,
                _ => {}
            }
        }
        Ok(operator)
    }

    fn name(&mut self, field: Field<'a>, list: &mut Vec<&'a str>) -> Result<()> {
        self.names += 1;
        if self.names > MAX_NAMES {
            return Err(Error::limit(format!("the graph mentions more than {MAX_NAMES} tensors")));
        }
        list.push(field.value.text()?);
        Ok(())
    }

    /// Adds to `reads` every tensor that a graph in the attribute mentions: some come from the graph around it.
    fn attribute(&mut self, bytes: &'a [u8], reads: &mut Vec<&'a str>, depth: usize) -> Result<()> {
        for field in Fields::of(bytes) {
            let field = field?;
            let message = field.value.bytes();
            match field.number {
                attribute::TENSOR | attribute::TENSORS => drop(self.tensor(message)?),
                attribute::SPARSE | attribute::SPARSES => drop(self.sparse(message)?),
                attribute::GRAPH | attribute::GRAPHS => self.subgraph(message, reads, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn subgraph(&mut self, bytes: &'a [u8], reads: &mut Vec<&'a str>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::limit(format!("graphs nest deeper than {MAX_DEPTH} levels")));
        }
        for field in Fields::of(bytes) {
            let field = field?;
            let message = field.value.bytes();
            match field.number {
                graph::NODE => {
                    let mut writes = Vec::new();
                    let _ = self.node(message, reads, &mut writes, depth)?;
                }
                graph::INITIALIZER => drop(self.tensor(message)?),
                graph::SPARSE_INITIALIZER => drop(self.sparse(message)?),
                // A branch may hand through a tensor of the graph around it.
                graph::OUTPUT => {
                    let output = named(field)?;
                    push(reads, output.name, MAX_NAMES, "tensors")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The name of a tensor; notes the file its values are in, if they are in another one.
    fn tensor(&mut self, bytes: &'a [u8]) -> Result<&'a str> {
        let mut name = "";
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                tensor::NAME => name = field.value.text()?,
                tensor::EXTERNAL => {
                    let (mut key, mut value) = ("", "");
                    for entry in Fields::of(field.value.bytes()) {
                        let entry = entry?;
                        match entry.number {
                            NAME => key = entry.value.text()?,
                            ENTRY_VALUE => value = entry.value.text()?,
                            _ => {}
                        }
                    }
                    if key == "location" && self.external.last() != Some(&value) {
                        push(&mut self.external, value, MAX_NAMES, "external files")?;
                    }
                }
                _ => {}
            }
        }
        Ok(name)
    }

    fn sparse(&mut self, bytes: &'a [u8]) -> Result<&'a str> {
        let mut name = "";
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                sparse::VALUES => name = self.tensor(field.value.bytes())?,
                sparse::INDICES => drop(self.tensor(field.value.bytes())?),
                _ => {}
            }
        }
        Ok(name)
    }
}

fn named(field: Field<'_>) -> Result<Named<'_>> {
    let mut name = "";
    for inner in Fields::of(field.value.bytes()) {
        let inner = inner?;
        if inner.number == NAME {
            name = inner.value.text()?;
        }
    }
    Ok(Named { name, raw: field.raw })
}

fn push<T>(list: &mut Vec<T>, item: T, limit: usize, what: &str) -> Result<()> {
    if list.len() >= limit {
        return Err(Error::limit(format!("the graph has more than {limit} {what}")));
    }
    list.push(item);
    Ok(())
}
