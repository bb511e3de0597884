"""Measures the shipped bundle: `python -m vs_mini.evaluate [part ...]`, all parts if none is named.

Everything runs through ONNX Runtime and the `tokenizers` library on the files of the bundle, exactly as the
extension runs them; no training code is used. Parts: clothing, words, emoji, copies, fashion, baselines,
latency, glance. `VS_MINI_BUNDLE` names another folder, `VS_MINI_FASHION` fewer Fashion-MNIST gallery pictures.
"""

import io
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

from . import config, metrics, sources, views

BUNDLE = Path(os.environ.get("VS_MINI_BUNDLE", config.BUNDLE))
THREADS = int(os.environ.get("VS_MINI_THREADS", "2"))


def session(source, threads: int = THREADS) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Bundle:
    """The shipped model."""

    def __init__(self, threads: int = THREADS):
        self.image = session(BUNDLE / "image.onnx", threads)
        self.text = session(BUNDLE / "text.onnx", threads)
        self.tokenizer = Tokenizer.from_file(str(BUNDLE / "tokenizer.json"))
        self.size = json.loads((BUNDLE / "manifest.json").read_text())["image"]["preprocess"]["resize"]["width"]

    def pixels(self, pictures: list[np.ndarray]) -> np.ndarray:
        return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)).astype(np.float32) / 255

    def squares(self, squares) -> np.ndarray:
        """Embeddings of pictures already brought to size."""
        return np.concatenate([self.image.run(None, {"pixel_values": self.pixels(squares[i:i + 4])})[0] for i in range(0, len(squares), 4)])

    def pictures(self, makers) -> np.ndarray:
        """Embeddings of pictures, each given as a function that opens it."""
        makers = list(makers)
        with ThreadPoolExecutor(2) as pool:
            found = []
            for start in range(0, len(makers), 128):
                part = list(pool.map(lambda make: views.square(make(), self.size), makers[start:start + 128]))
                found.append(self.squares(part))
                progress("pictures", start + len(part), len(makers))
        return np.concatenate(found)

    def words(self, texts: list[str]) -> np.ndarray:
        rows = self.tokenizer.encode_batch(texts)
        return self.text.run(None, {"input_ids": np.array([r.ids for r in rows]), "attention_mask": np.array([r.attention_mask for r in rows])})[0]


def progress(what: str, done: int, total: int):
    if sys.stderr.isatty():
        print(f"\r{what} {done}/{total}", end="\n" if done == total else "", file=sys.stderr)


# ---- the clothing photos ---------------------------------------------------------------------------------

def near_duplicates(queries: list[np.ndarray], gallery: list[np.ndarray], threshold: float = 0.97) -> np.ndarray:
    """Pairs [q, g] of pictures whose 24 x 24 grey thumbnails, mirrored or not, correlate above the threshold."""
    def standard(pictures, mirror=False):
        grey = np.stack([np.asarray(Image.fromarray(p).convert("L").resize((24, 24)), np.float32) for p in pictures])
        grey = (grey[:, :, ::-1] if mirror else grey).reshape(len(pictures), -1)
        grey = grey - grey.mean(1, keepdims=True)
        return grey / np.linalg.norm(grey, axis=1, keepdims=True).clip(1e-6)

    other = standard(gallery).T
    return (standard(queries) @ other > threshold) | (standard(queries, True) @ other > threshold)


class Clothing:
    """Both splits, decoded once."""

    def __init__(self, size: int):
        self.train, self.validation = list(sources.clothing("train")), list(sources.clothing("validation"))
        both = self.train + self.validation
        with ThreadPoolExecutor(2) as pool:
            self.squares = list(pool.map(lambda item: views.square(item.open(), size), both))
        self.labels = np.array([config.CLOTHING.index(item.label.split("/")[1]) for item in both])
        self.n = len(self.train)
        self.duplicates = near_duplicates(self.squares[self.n:], self.squares[:self.n])

    def score(self, vectors: np.ndarray) -> dict[str, float]:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        gallery, queries = vectors[:self.n], vectors[self.n:]
        labels, asked = self.labels[:self.n], self.labels[self.n:]
        one, five = metrics.precision(queries, asked, gallery, labels, 5, self.duplicates)
        every_one, every_five = metrics.precision(queries, asked, gallery, labels, 5)
        return {
            "P@1": one, "P@5": five, "P@1 with near-duplicates": every_one, "P@5 with near-duplicates": every_five,
            "triplet accuracy": metrics.triplet_accuracy(queries, asked, gallery, labels, self.duplicates),
            "triplet accuracy within validation": metrics.triplet_accuracy(queries, asked, queries, asked, np.eye(len(queries), dtype=bool)),
            "near-duplicate pairs left out": int(self.duplicates.sum()),
        }


def clothing(bundle: Bundle, data: Clothing):
    return data.score(embedded(bundle, data))


def embedded(bundle: Bundle, data: Clothing) -> np.ndarray:
    if not hasattr(data, "vectors"):
        data.vectors = bundle.squares(data.squares)
    return data.vectors


def words(bundle: Bundle, data: Clothing):
    """The ten class names to pictures; and a few other ways to say them."""
    vectors = embedded(bundle, data)
    texts = bundle.words(config.CLOTHING)
    held = metrics.words_precision(texts, vectors[data.n:], data.labels[data.n:])
    seen = metrics.words_precision(texts, vectors[:data.n], data.labels[:data.n])
    return {
        "P@10 over validation": float(held.mean()), "P@10 over train": float(seen.mean()),
        "P@10 over validation by class": {name: round(float(p), 2) for name, p in zip(config.CLOTHING, held)},
    }


# ---- emoji -------------------------------------------------------------------------------------------------

def emoji(bundle: Bundle, _):
    """Every emoji of the font by its own name, among all of them; and whether its look-alikes are of its kind."""
    items = list(sources.emoji())
    pictures = bundle.pictures(item.open for item in items)
    single = np.array([len(item.phrases) > 0 and "-" not in item.key for item in items])
    names = bundle.words([item.phrases[0] for item in items])
    found = (metrics.nearest(names, pictures, 9) == np.arange(len(items))[:, None])
    families = np.unique([item.family for item in items], return_inverse=True)[1]
    unseen = np.array([sources.internal_validation(item.twin) for item in items])
    return {"emoji": len(items), "recall@1": float(found[:, 0].mean()), "recall@9": float(found.any(1).mean()),
            "recall@9 of single code points": float(found[single].any(1).mean()),
            "five nearest of the same subgroup": metrics.family_share(pictures, families, np.full(len(items), True)),
            "never trained on": int(unseen.sum()), "recall@9 of these": float(found[unseen].any(1).mean()),
            "five nearest of the same subgroup, of these": metrics.family_share(pictures, families, unseen)}


# ---- copies ------------------------------------------------------------------------------------------------

def crop(image: Image.Image, rng) -> Image.Image:
    """A window of 80 to 95 % of each side."""
    share = rng.uniform(0.8, 0.95)
    width, height = int(image.width * share), int(image.height * share)
    x, y = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
    return image.crop((int(x), int(y), int(x) + width, int(y) + height))


def flip(image, rng):
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def rotate(image, rng):
    """By 15 degrees either way; the corners turn white."""
    return image.rotate(15 if rng.random() < 0.5 else -15, Image.Resampling.BICUBIC, fillcolor="white")


def jpeg(image, rng):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def copies(bundle: Bundle, data: Clothing):
    """Changed copies of the validation photos search all photos; how often the original comes first."""
    gallery = embedded(bundle, data)
    origin = np.arange(data.n, len(data.squares))
    result = {}
    recipes = {"crop": [crop], "flip": [flip], "rotation": [rotate], "jpeg": [jpeg], "all four": [flip, rotate, crop, jpeg]}
    for name, steps in recipes.items():

        def make(number, item):
            image, rng = item.open(), np.random.default_rng([config.SEED, number])  # the same whichever thread is first
            for step in steps:
                image = step(image, rng)
            return image

        vectors = bundle.pictures([lambda pair=pair: make(*pair) for pair in enumerate(data.validation)])
        result[name] = float((metrics.nearest(vectors, gallery, 1)[:, 0] == origin).mean())
    result["mean of the four"] = float(np.mean([result[n] for n in ("crop", "flip", "rotation", "jpeg")]))
    return result


# ---- Fashion-MNIST -------------------------------------------------------------------------------------------

def fashion(bundle: Bundle, _):
    """Test pictures search the training pictures."""
    def embed(pictures):
        found = []
        for start in range(0, len(pictures), 256):
            part = [views.square(Image.fromarray(p).convert("RGB"), bundle.size) for p in pictures[start:start + 256]]
            found.append(bundle.squares(part))
            progress("Fashion-MNIST", start + len(part), len(pictures))
        return np.concatenate(found)

    gallery, labels = sources.fashion("train")
    queries, asked = sources.fashion("test")
    limit = int(os.environ.get("VS_MINI_FASHION", len(gallery)))
    gallery, labels = gallery[:limit], labels[:limit]
    if limit < 60000:
        queries, asked = queries[:limit // 6], asked[:limit // 6]
    one, ten = metrics.precision(embed(queries), asked, embed(gallery), labels, 10)
    return {"gallery": len(gallery), "queries": len(queries), "P@1": one, "P@10": ten}


# ---- for comparison --------------------------------------------------------------------------------------------

def baselines(bundle: Bundle, data: Clothing):
    """Colour histograms, and SqueezeNet's last features (1,000 maps averaged) and its penultimate ones."""
    histograms = np.stack([np.histogramdd(s.reshape(-1, 3), bins=8, range=[(0, 256)] * 3)[0].ravel() for s in data.squares])
    result = {"colour histogram 8x8x8": data.score(np.sqrt(histograms / histograms.sum(1, keepdims=True)))}
    path = config.DATA / "squeezenet" / "SqueezeNet_fp16.onnx"
    if path.exists():
        model = onnx.load(path)
        name = "fire9/concat_1"
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        runner = session(model.SerializeToString())
        items = data.train + data.validation

        def features(item):
            bgr = views.square(item.open(), 224)[:, :, ::-1].astype(np.float32) - [104, 117, 123]
            entry = runner.get_inputs()[0]
            kind = np.float16 if "16" in entry.type else np.float32
            return runner.run([name], {entry.name: bgr.transpose(2, 0, 1)[None].astype(kind)})[0].astype(np.float32).mean((2, 3))[0]

        with ThreadPoolExecutor(2) as pool:
            result["SqueezeNet fire9 pooled"] = data.score(np.stack(list(pool.map(features, items))))
    return result


def latency(_, __):
    """One picture at a time, one thread; decoding and resizing not included. The processor time is what counts on a busy machine."""
    alone = Bundle(threads=1)
    pixels = alone.pixels([np.random.default_rng(0).integers(0, 255, (alone.size, alone.size, 3), dtype=np.uint8)])
    rows, busy = [], []
    for _ in range(200):
        started, used = time.perf_counter(), time.thread_time()
        alone.image.run(None, {"pixel_values": pixels})
        rows.append(1000 * (time.perf_counter() - started))
        busy.append(1000 * (time.thread_time() - used))
    texts = []
    for _ in range(200):
        started = time.perf_counter()
        alone.words(["red striped shirt"])
        texts.append(1000 * (time.perf_counter() - started))
    sizes = {path.name: path.stat().st_size for path in sorted(BUNDLE.iterdir())}
    return {"picture ms, median": float(np.median(rows)), "picture ms, least": min(rows),
            "picture ms of processor time, median": float(np.median(busy)), "picture ms of processor time, least": min(busy), "text ms, median": float(np.median(texts)),
            "bytes": sizes, "bytes together": sum(sizes.values())}


def glance(bundle: Bundle, data: Clothing):
    """What a person would try: phrases that are no class name, and two photos among all pictures."""
    vectors = embedded(bundle, data)
    classes, result = np.array(config.CLOTHING), {}
    for phrase in ("red shoes", "blue jeans", "black dress", "something warm for winter", "sneakers", "jumper", "trousers", "bluejens"):
        found = metrics.nearest(bundle.words([phrase]), vectors, 9)[0]
        tints = [views.colour_of(data.squares[i]) for i in found]
        result[phrase] = [f"{views.COLOURS[t] if t >= 0 else '-'} {classes[data.labels[i]]}" for t, i in zip(tints, found)]
    photos = [config.DATA / "squeezenet" / name for name in ("kitten_224.png", "fish.png")]
    if all(photo.exists() for photo in photos):
        gallery = np.concatenate([vectors, bundle.pictures([lambda p=p: sources.on_white(Image.open(p)) for p in photos])])
        for phrase, wanted in (("cat", 0), ("kitten", 0), ("tabby", 0), ("pet animal", 0), ("fish", 1), ("tench", 1)):
            scores = gallery @ bundle.words([phrase])[0]
            result[f"rank of the {photos[wanted].stem} photo for '{phrase}'"] = int((scores > scores[len(vectors) + wanted]).sum()) + 1
    return result


PARTS = {"clothing": clothing, "words": words, "emoji": emoji, "copies": copies, "fashion": fashion, "baselines": baselines,
         "latency": latency, "glance": glance}


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main(names: list[str]):
    bundle = Bundle()
    needs_photos = {"clothing", "words", "copies", "baselines", "glance"}
    names = names or list(PARTS)
    data = Clothing(bundle.size) if needs_photos & set(names) else None
    for name in names:
        print(json.dumps({name: rounded(PARTS[name](bundle, data))}, indent=1, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
