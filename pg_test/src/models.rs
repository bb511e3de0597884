//! Model folders made here: real networks, small enough to be written by hand.
//!
//! [`colours`] embeds a picture by the mean colours of its four quarters. That is all that tests need which want a
//! model of their own: to tell models apart, to have one on one server and not on another, to change its files.

use crate::Cluster;

/// A model's files: name and content.
pub type Files = Vec<(&'static str, Vec<u8>)>;

/// Number of dimensions of a [`colours`] embedding: three channels of two by two quarters.
pub const COLOURS_DIMS: usize = 12;

const MANIFEST: &str = r#"{
    "format": 1,
    "description": "mean colours of the four quarters of a picture",
    "dims": 12,
    "image": {
        "file": "colours.onnx",
        "preprocess": { "resize": { "mode": "exact", "width": 8, "height": 8 } }
    }
}"#;

/// A model of one average pooling, each of whose outputs is multiplied by `gain`.
pub fn colours(gain: f32) -> Files {
    vec![("manifest.json", MANIFEST.into()), ("colours.onnx", network(gain, None))]
}

/// [`colours`] with weights of more than 64 MiB, too many for a copy in each thread.
pub fn heavy_colours() -> Files {
    vec![("manifest.json", MANIFEST.into()), ("colours.onnx", network(1.0, Some(17 << 20)))]
}

/// A model that divides the smallest integer by -1 where a picture is white, which some processors cannot.
pub fn overflowing() -> Files {
    vec![("manifest.json", MANIFEST.into()), ("colours.onnx", overflowing_network())]
}

impl Cluster {
    /// Puts a model into the cluster's `visual_search.model_dir`, or another in its place.
    pub fn install_model(&self, name: &str, files: &Files) {
        for (file, content) in files {
            self.write_file(&format!("models/{name}/{file}"), content);
        }
    }
}

/// The network in ONNX's format: AveragePool, Flatten, Mul. With `ballast`, the factor is taken out of a table of so many.
fn network(gain: f32, ballast: Option<usize>) -> Vec<u8> {
    let pooling = node("AveragePool", &["image"], "pooled")
        .message(5, Message::new().text(1, "kernel_shape").ints(8, &[4, 4]).int(20, 7))
        .message(5, Message::new().text(1, "strides").ints(8, &[4, 4]).int(20, 7));
    let length = ballast.unwrap_or(1);
    let gain =
        Message::new().ints(1, &[length as u64]).int(2, 1).text(8, "gain").bytes(9, &gain.to_le_bytes().repeat(length));
    let first = Message::new().ints(1, &[1]).int(2, 7).text(8, "first").bytes(9, &0i64.to_le_bytes());
    let graph = Message::new()
        .message(1, pooling)
        .message(1, node("Flatten", &["pooled"], "flat"))
        .message(1, node("Gather", &["gain", "first"], "factor"))
        .message(1, node("Mul", &["flat", "factor"], "embedding"))
        .text(2, "colours")
        .message(5, gain)
        .message(5, first)
        .message(11, tensor("image", &[3, 8, 8]))
        .message(12, tensor("embedding", &[COLOURS_DIMS as u64]));
    Message::new().int(1, 8).message(7, graph).message(8, Message::new().text(1, "").int(2, 13)).0
}

/// AveragePool, Flatten; then what is white and nothing else becomes the smallest integer, which is divided by -1.
fn overflowing_network() -> Vec<u8> {
    let pooling = node("AveragePool", &["image"], "pooled")
        .message(5, Message::new().text(1, "kernel_shape").ints(8, &[4, 4]).int(20, 7))
        .message(5, Message::new().text(1, "strides").ints(8, &[4, 4]).int(20, 7));
    let cast = |input: &str, output: &str, element: u64| {
        node("Cast", &[input], output).message(5, Message::new().text(1, "to").int(3, element).int(20, 2))
    };
    let float =
        |name: &str, value: f32| Message::new().ints(1, &[1]).int(2, 1).text(8, name).bytes(9, &value.to_le_bytes());
    let minus = Message::new().ints(1, &[1]).int(2, 7).text(8, "minus").bytes(9, &(-1i64).to_le_bytes());
    let graph = Message::new()
        .message(1, pooling)
        .message(1, node("Flatten", &["pooled"], "flat"))
        .message(1, node("Add", &["flat", "little"], "above"))
        .message(1, node("Floor", &["above"], "white"))
        .message(1, node("Mul", &["white", "huge"], "large"))
        .message(1, cast("large", "integers", 7))
        .message(1, node("Div", &["integers", "minus"], "quotients"))
        .message(1, cast("quotients", "embedding", 1))
        .text(2, "overflowing")
        .message(5, float("little", 0.001))
        .message(5, float("huge", -1e30))
        .message(5, minus)
        .message(11, tensor("image", &[3, 8, 8]))
        .message(12, tensor("embedding", &[COLOURS_DIMS as u64]));
    Message::new().int(1, 8).message(7, graph).message(8, Message::new().text(1, "").int(2, 13)).0
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::new(), |node, input| node.text(1, input));
    node.text(2, output).text(4, operator)
}

/// The declaration of a tensor of floats whose first axis is the batch.
fn tensor(name: &str, axes: &[u64]) -> Message {
    let batch = Message::new().message(1, Message::new().text(2, "batch"));
    let shape = axes.iter().fold(batch, |shape, &length| shape.message(1, Message::new().int(1, length)));
    let float_tensor = Message::new().int(1, 1).message(2, shape);
    Message::new().text(1, name).message(2, Message::new().message(1, float_tensor))
}

/// A protobuf message under construction; the numbers are those of the fields in `onnx.proto`.
struct Message(Vec<u8>);

impl Message {
    fn new() -> Self {
        Message(Vec::new())
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn int(self, field: u64, value: u64) -> Self {
        self.varint(field << 3).varint(value)
    }

    fn ints(self, field: u64, values: &[u64]) -> Self {
        values.iter().fold(self, |message, &value| message.int(field, value))
    }

    fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        let mut message = self.varint(field << 3 | 2).varint(bytes.len() as u64);
        message.0.extend_from_slice(bytes);
        message
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: Message) -> Self {
        self.bytes(field, &message.0)
    }
}
