"""Writes the reduced form that the tests of crates/onnx run without Python: `reduce.py FOLDER`.

The smallest networks that the families' code makes, in the layouts of their exports, with the vectors and token ids that
the families' own pipelines compute. Pictures are made by a rule, so that none has to be stored.
"""

import json
import os
import pathlib
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
from PIL import Image

import families
import texts

SIZES = [(40, 40), (57, 43), (43, 57), (64, 32), (300, 21), (1, 500), (33, 33), (9, 7)]
FAMILIES = {
    "clip": families.clip,
    "clip-f16": families.clip_f16,
    "clip-int8": families.clip_int8,
    "clip-external": families.clip_external,
    "mobileclip": families.mobileclip,
    "siglip": families.siglip,
    "siglip2": families.siglip2,
    "dinov2": families.dinov2,
    "vit-classifier": families.vit_classifier,
    "resnet": families.resnet,
    "resnet-int8": families.resnet_int8,
    "convnext": families.convnext,
    "sentence": families.sentence,
}


def picture(width, height, seed):
    """Smooth colours with an edge, from whole numbers alone: the same in every language."""
    y, x, channel = np.mgrid[0:height, 0:width, 0:3]
    ramp = (x * (5 + seed) + y * (3 + channel) + channel * 60 + seed * 17) % 256
    edge = ((x * 4 // width + y * 3 // height) % 2) * 90
    return Image.fromarray(((ramp // 2 + edge) % 256).astype(np.uint8))


def main():
    target = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    families.SMALL = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2
    }
    families.SIDE, families.PATCH, families.WIDTH = 32, 8, 16
    families.FASTVIT = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64), "mlp_ratios": (1, 1, 1, 1)}
    texts.VOCABULARY = 300
    shutil.rmtree(target, ignore_errors=True)
    pictures = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    strings = texts.texts()
    expected = {"sizes": SIZES, "texts": strings, "models": {}}
    for name, make in FAMILIES.items():
        torch.manual_seed(0)
        folder = target / name
        folder.mkdir(parents=True)
        family = make(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        found = {}
        if family.images:
            found["images"] = [[round(float(v), 5) for v in row] for row in family.images(pictures)]
        if family.texts:
            # CLIP in other forms has CLIP's tokenizer.
            if "clip-" not in name:
                found["tokens"] = [list(map(int, ids)) for ids in family.ids(strings)]
            found["vectors"] = [[round(float(v), 5) for v in row] for row in family.texts(strings[::20])]
        expected["models"][name] = found
        for path in folder.rglob("*.json"):
            path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False, separators=(",", ":")) + "\n")
    (target / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
