"""The sets of vectors that are indexed and searched, made from the pictures in ../shared/data.

Every set is a function of the data and of fixed seeds: two runs see the same vectors in the same order.
"""

import gzip
import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 20240607
# The network sees pictures of this side; features are computed and cached this many pictures at a time.
SIDE, CHUNK, BATCH = 112, 2500, 50
LAYER = "fire9/concat_1"
# Changes when the features would: what the cache was computed with is part of its files' names.
RECIPE = f"{LAYER} averaged, {SIDE} px bilinear, BGR minus Caffe's mean, single precision, 1"


@dataclass
class Set:
    """Vectors to index, queries to ask, and further vectors to insert into the finished index."""

    name: str
    about: str
    metric: str  # l2 or cosine
    rows: np.ndarray
    queries: np.ndarray
    inserts: np.ndarray | None = None


@dataclass
class Limits:
    """How much of everything a run takes."""

    rows: int
    queries: int
    inserts: int
    relu_rows: int
    small_rows: int


FULL = Limits(rows=60_000, queries=1000, inserts=3000, relu_rows=20_000, small_rows=20_000)
QUICK = Limits(rows=10_000, queries=200, inserts=600, relu_rows=2000, small_rows=4000)


class Pictures:
    """Fashion-MNIST: the 60,000 training pictures are rows; of the 10,000 test pictures come queries and inserts."""

    def __init__(self, folder, limits):
        self.folder, self.limits = folder, limits
        # The files here are grouped by class, which no table is.
        random = np.random.default_rng(SEED)
        train, test = (random.permutation(idx(folder, part)) for part in ("train", "test"))
        held_out = limits.queries + limits.inserts
        if limits.rows > len(train) or held_out > len(test):
            raise SystemExit(f"there are {len(train)} pictures for rows, {len(test)} for queries and inserts")
        self.pictures = np.concatenate([train[: limits.rows], test[:held_out]])
        self.feature_cache = None

    def split(self, values):
        """Rows, queries, inserts."""
        rows, queries = self.limits.rows, self.limits.queries
        return values[:rows], values[rows : rows + queries], values[rows + queries :]

    def pixels(self):
        return self.pictures.reshape(len(self.pictures), -1).astype(np.float32)

    def features(self):
        if self.feature_cache is None:
            parts = [features(part, self.folder) for part in self.split(self.pictures) if len(part)]
            self.feature_cache = np.concatenate(parts)
        return self.feature_cache


def idx(folder, part):
    """An IDX file of pictures, in the original's or in our order: (n, 28, 28) bytes."""
    found = sorted((folder / "fashion-mnist").glob(f"{part}*images*idx3-ubyte.gz"))
    if not found:
        raise SystemExit(f"there is no Fashion-MNIST in {folder}")
    data = gzip.decompress(found[0].read_bytes())
    count, height, width = np.frombuffer(data, ">u4", 3, 4)
    return np.frombuffer(data, np.uint8, offset=16).reshape(count, height, width)


def features(pictures, folder):
    """SqueezeNet's features of the pictures, from the cache as far as they are there."""
    model = folder / "squeezenet" / "SqueezeNet_fp16.onnx"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visual_search" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(RECIPE.encode() + model.read_bytes())
    network, parts = None, []
    for start in range(0, len(pictures), CHUNK):
        chunk = pictures[start : start + CHUNK]
        name = key.copy()
        name.update(np.ascontiguousarray(chunk))
        path = cache / f"squeezenet-{name.hexdigest()[:20]}.npy"
        if not path.exists():
            print(f"\rcomputing features: {start} of {len(pictures)}", end=" ", file=sys.stderr, flush=True)
            network = network or Network(model)
            # Written under another name first: a run that is cut off leaves no half a file.
            with tempfile.NamedTemporaryFile(dir=cache, suffix=".part", delete=False) as file:
                np.save(file, network.run(chunk))
            os.replace(file.name, path)
        parts.append(np.load(path))
    if network:
        print(f"\rcomputed features: {len(pictures)}, kept in {cache}", file=sys.stderr)
    return np.concatenate(parts)


class Network:
    """SqueezeNet up to its last layer of features."""

    def __init__(self, path):
        import onnx
        import onnxruntime

        model = onnx.load(path)
        graph = model.graph
        last = next(i for i, node in enumerate(graph.node) if LAYER in node.output)
        del graph.node[last + 1 :]
        del graph.value_info[:]
        graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(LAYER, onnx.TensorProto.FLOAT, ["n", 512, "h", "w"]))
        # Half-precision weights, widened: the CPU would widen them in every run.
        for tensor in graph.initializer:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
        weights = {tensor.name for tensor in graph.initializer}
        for value in graph.input:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            if value.name not in weights:
                self.input = value.name
                for dim, name in zip(value.type.tensor_type.shape.dim, ("n", None, "h", "w")):
                    if name:
                        dim.dim_param = name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        # Bilinear enlargement as a matrix: pixel centres at (i + 1/2) of each scale, edges repeated.
        at = np.clip((np.arange(SIDE) + 0.5) * 28 / SIDE - 0.5, 0, 27)
        low = np.minimum(at.astype(int), 26)
        self.enlarge = np.zeros((SIDE, 28), np.float32)
        self.enlarge[np.arange(SIDE), low] = 1 - (at - low)
        self.enlarge[np.arange(SIDE), low + 1] += at - low
        self.mean = np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1)

    def run(self, pictures):
        parts = []
        for start in range(0, len(pictures), BATCH):
            large = self.enlarge @ pictures[start : start + BATCH].astype(np.float32) @ self.enlarge.T
            parts.append(self.session.run(None, {self.input: large[:, None] - self.mean})[0].mean(axis=(2, 3)))
        return np.concatenate(parts)


# ---- the sets ----


def fashion(pictures):
    rows, queries, inserts = pictures.split(pictures.pixels())
    return [Set("fashion", "Fashion-MNIST, raw pixels", "l2", rows, queries, inserts)]


def squeezenet(pictures):
    rows, queries, inserts = pictures.split(pictures.features())
    return [Set("squeezenet", f"SqueezeNet {LAYER} of Fashion-MNIST, averaged over space", "cosine", rows, queries, inserts)]


def centred(pictures):
    """The features without what they have in common, and their spread: the root mean square of a coordinate."""
    values = pictures.features()
    values = values - values[: pictures.limits.rows].mean(axis=0)
    return values, float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def relu4096(pictures):
    # Half of the elements become zero, as behind a ReLU of a network; the neighbourhoods are those of real pictures.
    values, spread = centred(pictures)
    projection = np.random.default_rng(SEED + 1).standard_normal((values.shape[1], 4096), np.float32)
    rows, queries, _ = pictures.split(values)
    rows, queries = (
        np.maximum(part @ projection / np.float32(spread * values.shape[1] ** 0.5), 0)
        for part in (rows[: pictures.limits.relu_rows], queries)
    )
    return [Set("relu4096", "centred SqueezeNet features, randomly projected to 4,096-d, ReLU", "l2", rows, queries)]


def offset(pictures):
    values, spread = centred(pictures)
    rows, queries, _ = pictures.split(values / np.float32(spread))
    rows = rows[: pictures.limits.small_rows]
    return [
        Set(f"offset{times}", f"centred SqueezeNet features, {times}x their spread added to every coordinate", "l2",
            rows + np.float32(times), queries + np.float32(times))
        for times in (3, 10)
    ]


def bursts(pictures):
    """Half of the rows are bursts of 200 vectors within 0.3 % of each other, which 8 bits cannot tell apart."""
    random = np.random.default_rng(SEED + 2)
    rows, queries, _ = pictures.split(pictures.pixels())
    count = pictures.limits.small_rows // 400
    seeds, others = rows[:count], rows[count : count + pictures.limits.small_rows - 200 * count]

    def like(vectors):
        noise = random.standard_normal(vectors.shape, np.float32)
        norms = (np.linalg.norm(part, axis=1, keepdims=True) for part in (vectors, noise))
        return vectors + np.float32(0.003) * noise * np.divide(*norms)

    rows = random.permutation(np.concatenate([like(np.repeat(seeds, 200, axis=0)), others]))
    queries = like(seeds[np.arange(len(queries)) % count])
    return [Set("bursts", f"Fashion-MNIST with {count} bursts of 200 near-duplicates, one more of a burst is searched for",
                "l2", rows, queries)]


SETS = {"fashion": fashion, "squeezenet": squeezenet, "relu4096": relu4096, "offset": offset, "bursts": bursts}
