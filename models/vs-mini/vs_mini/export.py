"""Writes the bundle: two ONNX graphs with fp16 weights, the tokenizer and the manifest.

`python -m vs_mini.export [checkpoint]`. Weights are stored in fp16 and cast to fp32 in the graph; ONNX
Runtime folds the casts when it loads the model, so arithmetic is fp32 at half the size. Padding before
strided convolutions becomes an attribute of the convolution.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from . import config, text
from .model import PictureTower, TextOutput

OPSET = 17


def fold_pads(model: onnx.ModelProto):
    """Pad followed by Conv becomes Conv with uneven pads."""
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    dead = []
    for node in graph.node:
        pad = producers.get(node.input[0]) if node.op_type == "Conv" else None
        if pad is None or pad.op_type != "Pad":
            continue
        value = next(a for a in node.attribute if a.name == "pads")
        assert list(value.ints) == [0, 0, 0, 0]
        widths = pads_of(pad, producers, constants)
        value.ints[:] = [widths[2], widths[3], widths[6], widths[7]]
        node.input[0] = pad.input[0]
        dead.append(pad)
    for node in dead:
        graph.node.remove(node)


def pads_of(pad, producers, constants) -> list[int]:
    """The widths of a Pad node, which the exporter computes by a small constant subgraph."""
    name = pad.input[1]
    if name not in constants:
        nodes, wanted = [], [name]
        while wanted:
            node = producers.get(wanted.pop())
            if node is not None and node not in nodes:
                nodes.insert(0, node)
                wanted += list(node.input)
        graph = helper.make_graph(nodes, "pads", [], [helper.make_tensor_value_info(name, TensorProto.INT64, None)])
        small = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return [int(v) for v in onnxruntime.InferenceSession(small.SerializeToString()).run(None, {})[0]]
    return [int(v) for v in constants[name]]


def drop_unused(model: onnx.ModelProto):
    """Removes nodes and weights that no output needs."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    keep = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            keep.append(node)
            needed |= set(node.input)
    keep.reverse()
    del graph.node[:]
    graph.node.extend(keep)
    weights = [i for i in graph.initializer if i.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def half_weights(model: onnx.ModelProto):
    """Stores float weights in fp16 behind a Cast."""
    graph, casts = model.graph, []
    for initializer in graph.initializer:
        if initializer.data_type != TensorProto.FLOAT or np.prod(initializer.dims) < 16:
            continue
        values = numpy_helper.to_array(initializer)
        assert np.abs(values).max() < 60000
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".f16"))
        casts.append(helper.make_node("Cast", [name + ".f16"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def write(module, arguments, inputs, path, axes):
    """Traces, tidies and checks one graph; returns its size."""
    torch.onnx.export(module, arguments, path, dynamo=False, opset_version=OPSET, input_names=inputs, output_names=["embedding"],
                      dynamic_axes=axes | {"embedding": {0: "batch"}}, do_constant_folding=True)
    model = onnx.load(path)
    fold_pads(model)
    drop_unused(model)
    half_weights(model)
    for node in model.graph.node:
        node.doc_string = ""
        node.name = ""
    model.producer_name, model.producer_version, model.doc_string = "vs-mini", "1", ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path)
    got = session.run(None, {name: value.numpy() for name, value in zip(inputs, arguments)})[0]
    with torch.inference_mode():
        expected = module(*arguments).numpy()
    agreement = (got * expected).sum(1).min()
    assert agreement > 0.9995, agreement
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, least cosine with the fp32 original {agreement:.6f}")
    return path.stat().st_size


def main(checkpoint: str = "finished"):
    state = torch.load(config.CACHE / f"{checkpoint}.pt", weights_only=False)
    tokenizer = Tokenizer.from_file(str(config.CACHE / "tokenizer.json"))
    tower = PictureTower().eval()
    tower.load_state_dict(state["tower"])
    words = text.TextTower(tokenizer.get_vocab_size())
    words.load_state_dict(state["text"])
    words = TextOutput(words).eval()

    config.BUNDLE.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.SEED)
    size = write(tower, (torch.rand(2, 3, config.SIZE, config.SIZE),), ["pixel_values"], config.BUNDLE / "image.onnx",
                 {"pixel_values": {0: "batch"}})
    ids, mask = text.encode(tokenizer, ["red striped shirt", "grinning face", "zxqv"])
    axes = {0: "batch", 1: "tokens"}
    size += write(words, (ids, mask), ["input_ids", "attention_mask"], config.BUNDLE / "text.onnx", {"input_ids": axes, "attention_mask": axes})
    text.save(tokenizer, config.BUNDLE / "tokenizer.json")
    (config.BUNDLE / "manifest.json").write_text(json.dumps(manifest(), indent=2) + "\n")
    size += sum((config.BUNDLE / name).stat().st_size for name in ("tokenizer.json", "manifest.json"))
    print(f"bundle: {size / 1e6:.2f} MB")


def manifest() -> dict:
    return {
        "format": 1,
        "name": config.NAME,
        "description": "Pictures and words in one space: MobileNet v2 and a bag of subwords, for product photos, clip art and emoji",
        "license": "PostgreSQL; weights derived from MobileNet v2 (Apache-2.0), training data as listed in the model card",
        "dims": config.DIMS,
        "image": {
            "file": "image.onnx",
            "input": "pixel_values",
            "output": "embedding",
            "preprocess": {
                "resize": {"mode": "exact", "width": config.SIZE, "height": config.SIZE},
                "filter": "bicubic",
                "channels": "rgb",
                "scale": 1 / 255,
                "mean": [0, 0, 0],
                "std": [1, 1, 1],
                "layout": "nchw",
            },
            "pooling": "none",
            "normalize": True,
        },
        "text": {
            "file": "text.onnx",
            "tokenizer": "tokenizer.json",
            "inputs": {"ids": "input_ids", "mask": "attention_mask"},
            "output": "embedding",
            "max_tokens": config.MAX_TOKENS,
            "pooling": "none",
            "normalize": True,
        },
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
