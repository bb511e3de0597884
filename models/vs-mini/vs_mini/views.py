"""Augmented views, and what the fixed part of the network sees in them.

The first blocks of the backbone are not trained, so their output, the *stem*, can be computed once per view and kept,
and with it the pooled features of the whole network as ImageNet left it: where training starts, and what it
must not forget. A *shard* is one view of every product photo and emoji and of a part of the rest; shard 0 holds the
clean pictures. That makes one core enough: no picture is decoded twice, and a step runs the last blocks only.
"""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import torch
from PIL import Image, ImageEnhance, ImageFilter

from . import config, sources


# ---- caches of pixels -----------------------------------------------------------------------------------

def square(image: Image.Image, side: int = config.SIZE) -> np.ndarray:
    """The model's preprocessing: Pillow's bicubic filter, aspect ratio not kept. [side, side, 3] bytes."""
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def decoded(items: list[sources.Item], side: int, workers: int = 2) -> np.ndarray:
    """Pixels of all items, [n, side, side, 3] bytes."""
    with ThreadPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(lambda item: square(item.open(), side), items)))


def cached(name: str, make) -> np.ndarray:
    """An array kept on disk under `name`."""
    path = config.CACHE / f"{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, make())
        partial.rename(path)
    return np.load(path, mmap_mode="r")


# ---- colours of garments ----------------------------------------------------------------------------------

COLOURS = ["black", "white", "grey", "red", "orange", "brown", "beige", "yellow", "green", "blue", "purple", "pink"]


def colour_of(pixels: np.ndarray) -> int:
    """The colour most of a photo's middle has, as an index into COLOURS; -1 where none prevails."""
    side = pixels.shape[0]
    middle = np.asarray(Image.fromarray(pixels[side // 4: -side // 4, side // 3: -side // 3]).resize((24, 24)).convert("HSV"))
    hue, saturation, value = (middle[..., i].astype(float).ravel() for i in range(3))
    hue *= 360 / 255
    names = np.full(hue.shape, -1)
    names[saturation < 45] = 2
    names[(saturation < 40) & (value > 185)] = 1
    names[(value < 62) | ((value < 80) & (saturation < 60))] = 0
    vivid = names < 0
    warm = vivid & ((hue < 50) | (hue >= 340))
    names[warm & ((hue < 18) | (hue >= 340))] = 3
    names[warm & (hue >= 18) & (hue < 40)] = 4
    names[warm & (hue >= 15) & (hue < 50) & (value < 150)] = 5
    names[warm & (hue >= 18) & (hue < 50) & (saturation < 110) & (value >= 150)] = 6
    names[vivid & (hue >= 40) & (hue < 68) & (saturation >= 110) & (value >= 120)] = 7
    names[vivid & (hue >= 68) & (hue < 170)] = 8
    names[vivid & (hue >= 170) & (hue < 255)] = 9
    names[vivid & (hue >= 255) & (hue < 300)] = 10
    names[vivid & (((hue >= 300) & (hue < 340)) | ((hue >= 330) & (saturation < 130) & (value > 150)))] = 11
    counts = np.bincount(names[names >= 0], minlength=len(COLOURS))
    best = int(counts.argmax())
    return best if counts[best] > 0.5 * names.size else -1


# ---- augmentation -----------------------------------------------------------------------------------------

def augment(pixels: np.ndarray, rng: np.random.Generator, flip: float) -> np.ndarray:
    """Crop, rotation, flip, colour, blur and JPEG at random: [SIZE, SIZE, 3] bytes from a square picture."""
    image = Image.fromarray(pixels)
    side, out = image.width, config.SIZE
    # One affine map from output to input: crop (35 % of the area or more), rotation up to 20 degrees, flip.
    area, aspect = rng.uniform(0.35, 1) if rng.random() < 0.8 else 1.0, np.exp(rng.uniform(-0.2, 0.2))
    width, height = min(side, side * np.sqrt(area * aspect)), min(side, side * np.sqrt(area / aspect))
    x, y = (rng.uniform(0, side - width), rng.uniform(0, side - height))
    angle = np.deg2rad(rng.uniform(-20, 20)) if rng.random() < 0.5 else 0.0
    mirror = -1 if rng.random() < flip else 1
    a, b, c, d = np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)
    sx, sy = width / out, height / out
    cx, cy = x + width / 2, y + height / 2
    matrix = (a * sx * mirror, b * sy, cx - (a * sx * mirror + b * sy) * out / 2,
              c * sx * mirror, d * sy, cy - (c * sx * mirror + d * sy) * out / 2)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    fill = [tuple(int(v) for v in border.mean(0)), (0, 0, 0), (255, 255, 255)][rng.integers(3)]
    image = image.transform((out, out), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=fill)
    if rng.random() < 0.6:
        for effect, low, high in ((ImageEnhance.Brightness, .7, 1.3), (ImageEnhance.Contrast, .7, 1.3), (ImageEnhance.Color, .6, 1.4)):
            image = effect(image).enhance(rng.uniform(low, high))
    if rng.random() < 0.05:
        image = image.convert("L").convert("RGB")
    if rng.random() < 0.12:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.5)))
    if rng.random() < 0.4:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(25, 90)))
        image = Image.open(buffer).convert("RGB")
    return np.asarray(image)


class Runner:
    """The network up to the stem and up to the pooled features, in ONNX Runtime, which is three times as fast here as PyTorch."""

    def __init__(self, tower, threads: int):
        path = config.CACHE / f"start{config.SIZE}-{os.getpid()}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.onnx.export(_Pooled(tower), torch.rand(2, 3, config.SIZE, config.SIZE), path, dynamo=False, opset_version=17,
                          input_names=["pixels"], output_names=["stem", "pooled"], dynamic_axes={n: {0: "n"} for n in ("pixels", "stem", "pooled")})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options)
        path.unlink()

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Stems [n, h, w, 64] and pooled features of [n, SIZE, SIZE, 3] bytes, fp16."""
        pixels = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 255
        return [array.astype(np.float16) for array in self.session.run(None, {"pixels": pixels})]


class _Pooled(torch.nn.Module):
    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def forward(self, pixels):
        stem = self.tower.backbone.stem(pixels)
        return stem.permute(0, 2, 3, 1), self.tower.pool(*self.tower.backbone.tail(stem))
