"""Writes the small models the tests of this crate run, and the vectors they must give.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install onnx==1.23.2 numpy && /tmp/venv/bin/python make.py

Weights come from a fixed seed, and the expected vectors are computed here with numpy alone, so that nothing but
ONNX Runtime under the crate can make the two agree. The files are committed: running the tests needs no Python.
"""

import json
import pathlib

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper, save

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(20261121)
SIDE, CHANNELS, CLASSES, VOCABULARY, WIDTH = 8, 6, 10, 16, 4
OPSET = [helper.make_opsetid("", 17)]

CONV = RNG.normal(0, 0.3, (CHANNELS, 3, 3, 3)).astype(np.float32)
BIAS = RNG.normal(0, 0.1, CHANNELS).astype(np.float32)
CLASSIFIER = RNG.normal(0, 0.3, (CHANNELS, CLASSES)).astype(np.float32)
WORDS = RNG.normal(0, 1, (VOCABULARY, WIDTH)).astype(np.float32)


def weight(name, array):
    return numpy_helper.from_array(array, name)


def write(name, nodes, inputs, outputs, weights, **options):
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=OPSET + options.pop("domains", []), ir_version=8)
    save(model, HERE / f"{name}.onnx", **options)


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def picture_nodes(pixels="pixels"):
    """Convolution, ReLU, pooling, classifier; tensors "map" [n,6,4,4], "embedding" [n,6], "logits" [n,10]."""
    return [
        helper.make_node("Conv", [pixels, "conv", "bias"], ["convolved"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "classifier"], ["logits"]),
    ]


PICTURE_WEIGHTS = [weight("conv", CONV), weight("bias", BIAS), weight("classifier", CLASSIFIER)]

write(
    "picture",
    picture_nodes(),
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("logits", T.FLOAT, ["n", CLASSES])],
    PICTURE_WEIGHTS,
)

# The same with half-precision input, weights and output, and the batch fixed to 2.
write(
    "picture_f16",
    picture_nodes()[:4],
    [tensor("pixels", T.FLOAT16, [2, 3, SIDE, SIDE])],
    [tensor("embedding", T.FLOAT16, [2, CHANNELS])],
    [weight("conv", CONV.astype(np.float16)), weight("bias", BIAS.astype(np.float16))],
)

# The same fed with bytes, channels last; divides by 255 itself. Its output is the feature map, channels last.
write(
    "picture_u8",
    [
        helper.make_node("Cast", ["bytes"], ["floats"], to=T.FLOAT),
        helper.make_node("Div", ["floats", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["pixels"], perm=[0, 3, 1, 2]),
        *picture_nodes()[:2],
        helper.make_node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1]),
    ],
    [tensor("bytes", T.UINT8, ["n", SIDE, SIDE, 3])],
    [tensor("last", T.FLOAT, ["n", 4, 4, CHANNELS])],
    [weight("scale", np.array(255, np.float32)), *PICTURE_WEIGHTS[:2]],
)

# Weights in a file beside the model.
(HERE / "picture_external.data").unlink(missing_ok=True)
write(
    "picture_external",
    picture_nodes(),
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("logits", T.FLOAT, ["n", CLASSES])],
    PICTURE_WEIGHTS,
    save_as_external_data=True,
    location="picture_external.data",
    size_threshold=64,
)

# Word vectors, "tokens" [n,t,4]; their mean over what is no padding, "mean" [n,4].
TEXT_NODES = [
    helper.make_node("Gather", ["words", "input_ids"], ["tokens"]),
    helper.make_node("Cast", ["attention_mask"], ["mask"], to=T.FLOAT),
    helper.make_node("Unsqueeze", ["mask", "last_axis"], ["mask3"]),
    helper.make_node("Mul", ["tokens", "mask3"], ["masked"]),
    helper.make_node("ReduceSum", ["masked", "middle_axis"], ["sum"], keepdims=0),
    helper.make_node("ReduceSum", ["mask", "middle_axis"], ["count"], keepdims=1),
    helper.make_node("Div", ["sum", "count"], ["mean"]),
]
TEXT_WEIGHTS = [
    weight("words", WORDS),
    weight("last_axis", np.array([-1], np.int64)),
    weight("middle_axis", np.array([1], np.int64)),
]
TEXT_INPUTS = [tensor(name, T.INT64, ["n", "t"]) for name in ("input_ids", "attention_mask")]
write("text", TEXT_NODES, TEXT_INPUTS, [tensor("mean", T.FLOAT, ["n", WIDTH])], TEXT_WEIGHTS)

# Texts of exactly five tokens as 32-bit numbers, without a mask.
write(
    "text_fixed",
    TEXT_NODES[:1],
    [tensor("input_ids", T.INT32, ["n", 5])],
    [tensor("tokens", T.FLOAT, ["n", 5, WIDTH])],
    TEXT_WEIGHTS[:1],
)

# Both in one graph, as exports of dual encoders have them, with a score that needs both.
write(
    "dual",
    [
        *picture_nodes()[:4],
        *TEXT_NODES,
        helper.make_node("MatMul", ["embedding", "project"], ["image_embeds"]),
        helper.make_node("Identity", ["mean"], ["text_embeds"]),
        helper.make_node("Transpose", ["text_embeds"], ["turned"]),
        helper.make_node("MatMul", ["image_embeds", "turned"], ["scores"]),
    ],
    [*TEXT_INPUTS, tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [
        tensor("scores", T.FLOAT, ["n", "n"]),
        tensor("text_embeds", T.FLOAT, ["n", WIDTH]),
        tensor("image_embeds", T.FLOAT, ["n", WIDTH]),
    ],
    [*PICTURE_WEIGHTS[:2], *TEXT_WEIGHTS, weight("project", CLASSIFIER[:, :WIDTH].copy())],
)

# A branch that reads tensors of the graph around it.
branch = helper.make_graph(
    [helper.make_node("Mul", ["embedding", "two"], ["doubled"])], "then", [], [tensor("doubled", T.FLOAT, None)]
)
other = helper.make_graph(
    [helper.make_node("Identity", ["embedding"], ["same"])], "else", [], [tensor("same", T.FLOAT, None)]
)
write(
    "branch",
    [
        *picture_nodes(),
        helper.make_node("ReduceMax", ["map"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["chosen"], then_branch=branch, else_branch=other),
    ],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("logits", T.FLOAT, ["n", CLASSES])],
    [*PICTURE_WEIGHTS, weight("two", np.array(2, np.float32)), weight("zero", np.array(0, np.float32))],
)

# What must be refused.
write(
    "not_a_number",
    [helper.make_node("Neg", ["pixels"], ["negative"]), helper.make_node("Log", ["negative"], ["logs"])],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("logs", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [],
)
write(
    "unknown_operator",
    [helper.make_node("Sharpen", ["pixels"], ["sharp"], domain="example.org")],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("sharp", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [],
    domains=[helper.make_opsetid("example.org", 1)],
)
write(
    "not_a_tensor",
    [helper.make_node("SequenceConstruct", ["pixels", "pixels"], ["list"])],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [helper.make_tensor_sequence_value_info("list", T.FLOAT, None)],
    [],
)
write(
    "not_a_number_type",
    [helper.make_node("Cast", ["pixels"], ["words"], to=T.STRING)],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("words", T.STRING, ["n", 3, SIDE, SIDE])],
    [],
)
write(
    "too_wide",
    [helper.make_node("Tile", ["pixels", "repeats"], ["wide"])],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("wide", T.FLOAT, None)],
    [weight("repeats", np.array([1, 1, 10, 10], np.int64))],
)

write(
    "huge_batch",
    picture_nodes(),
    [tensor("pixels", T.FLOAT, [2**40, 3, SIDE, SIDE])],
    [tensor("logits", T.FLOAT, [2**40, CLASSES])],
    PICTURE_WEIGHTS,
)
write(
    "huge_tokens",
    TEXT_NODES[:1],
    [tensor("input_ids", T.INT64, ["n", 2**40])],
    [tensor("tokens", T.FLOAT, ["n", 2**40, WIDTH])],
    TEXT_WEIGHTS[:1],
)

# Takes nine tokens, as its positions do, and does not say so.
write(
    "text_nine",
    [
        helper.make_node("Gather", ["words", "input_ids"], ["found"]),
        helper.make_node("Add", ["found", "positions"], ["tokens"]),
        helper.make_node("ReduceMean", ["tokens"], ["text_embeds"], axes=[1], keepdims=0),
    ],
    [tensor("input_ids", T.INT64, ["n", "t"])],
    [tensor("text_embeds", T.FLOAT, ["n", WIDTH])],
    [TEXT_WEIGHTS[0], weight("positions", np.zeros((1, 9, WIDTH), np.float32))],
)

# A projection whose output has a name of its own, and that is no classifier.
write(
    "projection",
    [*picture_nodes()[:4], helper.make_node("MatMul", ["embedding", "classifier"], ["projected"])],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("projected", T.FLOAT, ["n", CLASSES])],
    PICTURE_WEIGHTS,
)

# A classifier whose last layer is a convolution.
write(
    "convolved_classifier",
    [
        *picture_nodes()[:3],
        helper.make_node("Conv", ["pooled", "last"], ["scores"]),
        helper.make_node("Flatten", ["scores"], ["logits"]),
    ],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("logits", T.FLOAT, ["n", CLASSES])],
    [*PICTURE_WEIGHTS[:2], weight("last", CLASSIFIER.T.reshape(CLASSES, CHANNELS, 1, 1).copy())],
)

# The places of a feature map as tokens, none of which stands for all.
write(
    "token_map",
    [
        *picture_nodes()[:2],
        helper.make_node("Reshape", ["map", "places"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["last_hidden_state"], perm=[0, 2, 1]),
    ],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("last_hidden_state", T.FLOAT, ["n", 16, CHANNELS])],
    [*PICTURE_WEIGHTS[:2], weight("places", np.array([0, CHANNELS, 16], np.int64))],
)

# Divides the smallest integer by -1 where a sample is 255, and zeros elsewhere.
write(
    "overflow",
    [
        helper.make_node("Add", ["pixels", "little"], ["above"]),
        helper.make_node("Floor", ["above"], ["full"]),
        helper.make_node("Mul", ["full", "huge"], ["large"]),
        helper.make_node("Cast", ["large"], ["integers"], to=T.INT64),
        helper.make_node("Div", ["integers", "minus"], ["quotients"]),
        helper.make_node("Cast", ["quotients"], ["floats"], to=T.FLOAT),
        helper.make_node("GlobalAveragePool", ["floats"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ],
    [tensor("pixels", T.FLOAT, ["n", 3, SIDE, SIDE])],
    [tensor("embedding", T.FLOAT, ["n", 3])],
    [
        weight("little", np.array(0.001, np.float32)),
        weight("huge", np.array(-1e30, np.float32)),
        weight("minus", np.array(-1, np.int64)),
    ],
)


def convolve(pixels):
    """The feature map [6,4,4] of a picture [3,8,8]."""
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
    out = np.empty((CHANNELS, SIDE // 2, SIDE // 2))
    for row in range(SIDE // 2):
        for column in range(SIDE // 2):
            patch = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].astype(np.float64)
            out[:, row, column] = (CONV.astype(np.float64) * patch).sum(axis=(1, 2, 3)) + BIAS
    return np.maximum(out, 0)


def picture(seed):
    """Bytes [8,8,3] that the tests compute by the same rule."""
    at = np.arange(SIDE * SIDE * 3, dtype=np.uint64)
    return ((at * 37 + at * at * 11 + seed * 53) % 251).astype(np.uint8).reshape(SIDE, SIDE, 3)


pictures = []
for seed in range(5):
    pixels = picture(seed).transpose(2, 0, 1) / 255.0
    feature_map = convolve(pixels)
    embedding = feature_map.mean(axis=(1, 2))
    pictures.append(
        {
            "seed": seed,
            "map": feature_map.reshape(-1).tolist(),
            "gap": embedding.tolist(),
            "gmp": feature_map.max(axis=(1, 2)).tolist(),
            "logits": (embedding @ CLASSIFIER).tolist(),
            "image_embeds": (embedding @ CLASSIFIER[:, :WIDTH]).tolist(),
        }
    )

TOKENS = {"[PAD]": 0, "[UNK]": 1, "a": 2, "red": 3, "shirt": 4, "blue": 5, "shoe": 6, "striped": 7, "the": 8}
texts = []
for text in ["red shirt", "a red striped shirt", "shoe", "blue zebra shoe", "the a red blue striped shirt shoe"]:
    ids = [TOKENS.get(word, 1) for word in text.split()]
    five = (ids + [0] * 5)[:5]
    texts.append(
        {
            "text": text,
            "ids": ids,
            "mean": WORDS[ids].astype(np.float64).mean(axis=0).tolist(),
            "first_of_five": WORDS[five[0]].tolist(),
            "mean_of_five": WORDS[five[: min(len(ids), 5)]].astype(np.float64).mean(axis=0).tolist(),
        }
    )

(HERE / "expected.json").write_text(json.dumps({"pictures": pictures, "texts": texts}, indent=1) + "\n")
(HERE / "tokenizer.json").write_text(
    json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": TOKENS, "unk_token": "[UNK]"},
        },
        indent=1,
    )
    + "\n"
)
