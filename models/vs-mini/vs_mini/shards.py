"""Makes the shards: `python -m vs_mini.shards 0 8` makes shards 0 to 7, skipping those that are there."""

import os
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from . import config, mobilenet, model, sources, views

# Fashion-MNIST pictures per shard, the same in two shards running; clip art is cut into as many parts.
FASHION = 3000
CLIPART_PARTS = 3
BATCH = 4  # fits the processor's caches; larger ones are half as fast


@dataclass
class Corpus:
    """All pictures in one numbering: what they are called, and where each source begins."""

    labels: list[str]
    keys: list[str]
    phrases: list[list[str]]
    families: list[str]
    held: np.ndarray  # product photos and emoji that are never trained on
    colours: np.ndarray
    ranges: dict[str, range]

    def of(self, source: str) -> np.ndarray:
        return np.array(self.ranges[source])


def known_words() -> set[str]:
    """Words worth keeping in a clip-art file name."""
    words = set(sources.glove())
    for name, keywords in sources.annotations().values():
        for phrase in [name, *keywords]:
            words.update(sources.words_of(phrase))
    for names in sources.imagenet_names():
        for name in names:
            words.update(sources.words_of(name))
    return {word for word in words if len(word) > 2}


def corpus() -> tuple[Corpus, dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The corpus, cached pixels by source, and Fashion-MNIST's training pictures and labels."""
    parts = {
        "clothing": list(sources.clothing("train")),
        "validation": list(sources.clothing("validation")),
        "emoji": list(sources.emoji()),
        "clipart": list(sources.clipart(known_words())),
    }
    pixels = {name: views.cached(f"{name}-{config.CACHE_SIZE}", lambda items=items: views.decoded(items, config.CACHE_SIZE))
              for name, items in parts.items()}
    pictures, classes = sources.fashion("train")
    items = [item for part in parts.values() for item in part]
    ranges, start = {}, 0
    for name, part in parts.items():
        ranges[name] = range(start, start + len(part))
        start += len(part)
    ranges["fashion"] = range(start, start + len(classes))
    names = [config.FASHION[c] for c in classes]
    clothes = np.concatenate([pixels["clothing"], pixels["validation"]])
    colours = views.cached("colours", lambda: np.array([views.colour_of(p) for p in clothes]))
    return (
        Corpus(
            [item.label for item in items] + [f"fashion/{name}" for name in names],
            [item.key for item in items] + [f"fashion/{i}" for i in range(len(names))],
            [item.phrases for item in items] + [sources.FASHION_WORDS[name] for name in names],
            [item.family for item in items] + [""] * len(names),
            np.array([item.key.startswith(("clothing/train", "emoji/")) and sources.internal_validation(item.twin or item.key) for item in items]
                     + [False] * len(names)),
            np.concatenate([colours, np.full(start + len(classes) - len(colours), -1)]),
            ranges,
        ),
        pixels,
        (pictures, classes),
    )


def fashion_picture(small: np.ndarray, side: int) -> np.ndarray:
    return views.square(Image.fromarray(small).convert("RGB"), side)


def start() -> tuple[model.PictureTower, tuple[torch.Tensor, torch.Tensor]]:
    """The picture tower with ImageNet weights, and the ImageNet classifier it had (1,000 classes)."""
    tower = model.PictureTower().eval()
    weight, bias = mobilenet.load(tower.backbone, config.DATA / "mobilenet" / "tf2_mobilenet_v2_1.0_224_ptq.tflite")
    return tower, (weight[1:], bias[1:])  # class 0 is the background


def make(shard: int, everything, run: views.Runner) -> dict[str, np.ndarray]:
    """Item numbers [n], stems and pooled features [n, DETAILS] of one shard."""
    corpus, pixels, (fashion, _) = everything
    rng = np.random.default_rng([config.SEED, shard])
    flips = {"clothing": 0.5, "emoji": 0.3, "clipart": 0.3, "fashion": 0.5}
    work: list[tuple[str, int]] = []
    if shard == 0:
        work += [(name, i) for name in ("clothing", "emoji", "clipart") for i in range(len(pixels[name]))]
    else:
        work += [(name, i) for name in ("clothing", "emoji") for i in range(len(pixels[name])) if not corpus.held[corpus.ranges[name][i]]]
        work += [("clipart", i) for i in range((shard - 1) % CLIPART_PARTS, len(pixels["clipart"]), CLIPART_PARTS)]
        pair = np.random.default_rng([config.SEED, 1000 + (shard - 1) // 2])
        work += [("fashion", int(i)) for i in pair.choice(len(fashion), FASHION, replace=False)]

    def picture(name: str, index: int) -> np.ndarray:
        if name == "fashion":
            source = fashion_picture(fashion[index], config.CACHE_SIZE if shard else config.SIZE)
            if shard and rng.random() < 0.15:
                source = 255 - source
        else:
            source = np.asarray(pixels[name][index])
        if shard == 0:
            return source if source.shape[0] == config.SIZE else views.square(Image.fromarray(source))
        return views.augment(source, rng, flips[name])

    side = config.SIZE // 16
    stems = np.empty((len(work), side, side, 64), np.float16)
    pooled = np.empty((len(work), model.DETAILS), np.float16)
    started = time.time()
    for start in range(0, len(work), BATCH):
        part = work[start:start + BATCH]
        rows = slice(start, start + len(part))
        stems[rows], pooled[rows] = run(np.stack([picture(*entry) for entry in part]))
        if start // BATCH % 200 == 0:
            rate = (start + len(part)) / (time.time() - started)
            print(f"shard {shard}: {start}/{len(work)}, {rate:.0f} views/s", flush=True)
    return {"index": np.array([corpus.ranges[name][i] for name, i in work]), "stem": stems, "pooled": pooled}


def path(what: str, shard: int):
    return config.CACHE / f"{what}{config.SIZE}-{shard:03}.npy"


def main(first: int, end: int):
    everything, run = corpus(), views.Runner(start()[0], int(os.environ.get("VS_MINI_THREADS", "1")))
    print({name: len(r) for name, r in everything[0].ranges.items()}, flush=True)
    for shard in range(first, end):
        if path("pooled", shard).exists():
            continue
        for what, array in make(shard, everything, run).items():  # pooled comes last: its file says the shard is whole
            partial = config.CACHE / f"partial-{shard}.npy"
            np.save(partial, array)
            partial.rename(path(what, shard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
