"""Every number that defines the model, and where its inputs lie."""

import os
from pathlib import Path

NAME = "vs-mini-1"

# Picture side: Pillow's bicubic filter squashes a picture to SIZE x SIZE; the network takes RGB in 0..1.
SIZE = 192
# Side of the cached originals: a little larger, so that an augmentation can crop before it resizes.
CACHE_SIZE = 224

# The embedding is two unit vectors side by side, scaled so that the whole has length one:
# MEANING, shared with words, and LOOK, which tells one picture from another of its kind.
MEANING = 256
LOOK = 128
DIMS = MEANING + LOOK

# The look's weight in the likeness of two pictures, and how strongly a recognised garment pulls the meaning.
LOOK_SHARE = 0.2
PULL = 0.8

MAX_TOKENS = 32
SEED = 20261121

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent
DATA = Path(os.environ.get("VS_MINI_DATA", PROJECT.parent / "shared" / "data"))
CACHE = Path(os.environ.get("VS_MINI_CACHE", HERE / "cache"))
# Debian packages unpacked by train.sh: fonts-noto-color-emoji, openclipart-png, unicode-cldr-core,
# unicode-data, wordnet-base.
DEBIAN = Path(os.environ.get("VS_MINI_DEBIAN", CACHE / "debian"))
BUNDLE = HERE.parent / NAME

CLOTHING = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]
FASHION = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
KINDS = [f"clothing/{name}" for name in CLOTHING] + [f"fashion/{name}" for name in FASHION]
