"""Reads the pictures and the words that describe them.

Each source yields ``Item``s: something that opens the picture as RGB on white, a label that says which
pictures count as alike, and the phrases that name it. Nothing here is random; splits are fixed by the
folders, and the internal split by a hash of the file name, so it survives additions.
"""

import gzip
import hashlib
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from . import config, taxonomy

Image.MAX_IMAGE_PIXELS = None  # the sources are known, and large ones are skipped by their header


@dataclass
class Item:
    """One picture: `key` names it, `label` groups like with like, `phrases` describe it.

    `family` is the kind of thing it shows, where that is known; pictures with the same `twin` fall on the
    same side of the internal split.
    """

    key: str
    label: str
    phrases: list[str]
    open: Callable[[], Image.Image] = field(repr=False)
    family: str = ""
    twin: str = ""


def on_white(image: Image.Image) -> Image.Image:
    """Upright RGB, transparency composited on white: what the extension's decoder hands to a model."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def internal_validation(key: str, share: float = 0.1) -> bool:
    """The part of a training split kept back for early stopping and for choosing settings."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") < share * 2**32


# ---- product photos ---------------------------------------------------------------------------------

# What people call the ten classes; the class name itself comes first and most often.
CLOTHING_WORDS = {
    "dress": ["dress", "gown", "frock", "sundress", "evening dress", "party dress"],
    "hat": ["hat", "cap", "baseball cap", "beanie", "headwear", "bonnet"],
    "longsleeve": ["longsleeve", "long sleeve", "long sleeve shirt", "pullover", "sweater", "jumper", "jersey", "sweatshirt", "top with long sleeves"],
    "outwear": ["outwear", "outerwear", "jacket", "coat", "parka", "hoodie", "overcoat", "winter jacket"],
    "pants": ["pants", "trousers", "jeans", "slacks", "denim", "leggings"],
    "shirt": ["shirt", "button shirt", "dress shirt", "blouse", "shirt with buttons", "collared shirt"],
    "shoes": ["shoes", "shoe", "sneakers", "footwear", "boots", "sandals", "pair of shoes", "trainers"],
    "shorts": ["shorts", "short pants", "bermuda shorts", "swimming trunks", "summer shorts"],
    "skirt": ["skirt", "miniskirt", "pleated skirt", "kilt"],
    "t-shirt": ["t-shirt", "tshirt", "t shirt", "tee", "tee shirt", "short sleeve shirt", "undershirt", "short sleeved top"],
}


def clothing(split: str) -> Iterator[Item]:
    """`train` or `validation` of the clothing photos."""
    for name in config.CLOTHING:
        for path in sorted((config.DATA / "clothing" / split / name).iterdir()):
            yield Item(
                f"clothing/{split}/{name}/{path.name}",
                f"clothing/{name}",
                CLOTHING_WORDS[name],
                lambda path=path: on_white(Image.open(path)),
            )


# ---- Fashion-MNIST ------------------------------------------------------------------------------------

FASHION_WORDS = {
    "t-shirt": ["t-shirt", "tee", "top", "short sleeve top"],
    "trouser": ["trousers", "pants", "pair of trousers"],
    "pullover": ["pullover", "sweater", "jumper"],
    "dress": ["dress", "gown"],
    "coat": ["coat", "overcoat", "jacket"],
    "sandal": ["sandal", "sandals", "open shoe"],
    "shirt": ["shirt", "blouse"],
    "sneaker": ["sneaker", "sneakers", "running shoe", "trainers", "sports shoe"],
    "bag": ["bag", "handbag", "purse"],
    "ankle boot": ["ankle boot", "boot", "boots"],
}


def idx(path) -> np.ndarray:
    """An IDX file of unsigned bytes."""
    with gzip.open(path) as file:
        raw = file.read()
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4).astype(int)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def fashion(split: str) -> tuple[np.ndarray, np.ndarray]:
    """`train` or `test`: pictures [n, 28, 28] and class numbers [n], shuffled by a fixed seed."""
    root = config.DATA / "fashion-mnist"
    pictures = idx(root / f"{split}-by-class-images-idx3-ubyte.gz")
    labels = idx(root / f"{split}-by-class-labels-idx1-ubyte.gz")
    order = np.random.default_rng(config.SEED).permutation(len(labels))
    return pictures[order], labels[order].astype(np.int64)


# ---- emoji ------------------------------------------------------------------------------------------

SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}
# A woman with a hat and a man with a hat are twins.
GENDERS = {"man", "woman", "person", "men", "women", "people"}
EMOJI_SIZE = 109  # the one strike of the font's bitmaps


def emoji_font():
    """The colour font, or the system's copy of it."""
    relative = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
    path = config.DEBIAN / relative
    return ImageFont.truetype(str(path if path.exists() else "/" + relative), EMOJI_SIZE)


def annotations() -> dict[str, tuple[str, list[str]]]:
    """CLDR's English name and keywords of every annotated character and sequence."""
    found: dict[str, tuple[str, list[str]]] = {}
    relative = "usr/share/unicode/cldr/common"
    root = config.DEBIAN / relative
    if not root.exists():
        root = config.Path("/") / relative
    for folder in ("annotations", "annotationsDerived"):
        for node in ET.parse(root / folder / "en.xml").getroot().iter("annotation"):
            text = node.get("cp")
            name, keywords = found.get(text, ("", []))
            if node.get("type") == "tts":
                name = node.text.strip()
            else:
                keywords = [word.strip() for word in node.text.split("|")]
            found[text] = (name, keywords)
    return {text: entry for text, entry in found.items() if entry[0]}


def draw_emoji(font, text: str) -> Image.Image | None:
    """The glyph on white, or None where the font has no single picture for the sequence."""
    left, top, right, bottom = font.getbbox(text)
    if right - left > 1.3 * font.getlength("\U0001F600") or right <= left or bottom <= top:
        return None
    side = 136
    canvas = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text(((side - (right - left)) // 2 - left, (side - (bottom - top)) // 2 - top), text, font=font, embedded_color=True)
    pixels = np.asarray(canvas)
    return canvas if (pixels < 250).any() else None


def emoji() -> Iterator[Item]:
    """Every emoji of the font without a skin tone, by its Unicode name, CLDR name and CLDR keywords."""
    font = emoji_font()
    missing = draw_emoji(font, "\U0010FFFE")
    missing = missing.tobytes() if missing else None
    seen: set[bytes] = set()
    for text, (name, keywords) in annotations().items():
        if any(tone in text for tone in SKIN_TONES) or ord(text[0]) < 0x203C:
            continue
        shown = text if len(text) > 1 or ord(text) > 0x1F000 else text + "\ufe0f"
        picture = draw_emoji(font, shown)
        if picture is None or (raw := picture.tobytes()) == missing or raw in seen:
            continue
        seen.add(raw)
        names = [name]
        if len(text.replace("\ufe0f", "")) == 1:
            unicode_name = unicodedata.name(text[0], "").lower()
            names = [unicode_name] * 2 + [name] if unicode_name else names
        flag = name.removeprefix("flag: ")
        if flag != name:
            names += [f"flag of {flag}", f"{flag} flag"]
        subgroup = taxonomy.subgroups().get(text.replace("\ufe0f", ""), "")
        others = [word for word in dict.fromkeys(keywords + taxonomy.of_emoji(name, subgroup)) if word.lower() != name.lower()]
        yield Item(
            f"emoji/{'-'.join(f'{ord(c):x}' for c in text)}",
            f"emoji/{text}",
            names * max(2, -(-len(others) // len(names))) + others,  # a name as often as anything else
            lambda shown=shown: draw_emoji(font, shown),
            subgroup and f"emoji/{subgroup}",
            "emoji/" + " ".join(word for word in name.split() if word not in GENDERS),
        )


# ---- clip art -----------------------------------------------------------------------------------------

CLIPART_SKIP = ("shapes/stars", "special/gradients", "games/cards", "shapes/jigsaw", "unsorted", "computer/buttons")
CLIPART_PIXELS = 9_000_000  # a few drawings are posters
# Words of file and folder names that say nothing about the picture.
NOISE = set("md of the a and jon phillips flat theme lemon etiquette apps actions action gnome icons icon misc simple etc mimetypes "
            "stock applications unsorted special png fs aiga nps usda bw net dave pena gerald g mo di de la le van image".split())


def words_of(text: str) -> list[str]:
    """Lower-case words of a file name."""
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return [word for word in re.split(r"[^a-zA-Z]+", text.lower()) if len(word) > 1 and word not in NOISE]


def singular(word: str) -> str:
    """Folder names are plurals; their pictures show one."""
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def clipart(known: set[str]) -> Iterator[Item]:
    """Public-domain clip art, named by the words of its path that are in `known` (file names carry authors too)."""
    root = config.DEBIAN / "usr/share/openclipart/png"
    for path in sorted(root.rglob("*.png")):
        relative = path.relative_to(root)
        folder = str(relative.parent)
        if any(skip in folder for skip in CLIPART_SKIP) or np.prod(Image.open(path).size) > CLIPART_PIXELS:
            continue
        own = [word for word in words_of(relative.stem) if word in known]
        kind = [singular(word) for word in words_of(relative.parent.name)]
        kind = [word for word in kind if word in known]
        if not own and not kind:
            continue
        phrases = []
        if own:
            phrases += [" ".join(own[:4])] * 2 + [own[0], " ".join(own[:2])]
            if "flags" in folder:
                phrases += [f"flag of {' '.join(w for w in own if w != 'flag')}".strip()] * 2
        if kind:
            phrases += [" ".join(kind)]
            if own:
                phrases += [" ".join(own[:2] + kind)]
        phrases += dict.fromkeys(name for word in own for name in taxonomy.kinds(word, folder))
        yield Item(
            f"clipart/{relative}",
            f"clipart/{relative}",
            phrases,
            lambda path=path: on_white(Image.open(path)),
            f"clipart/{folder}",
        )


# ---- words --------------------------------------------------------------------------------------------

def glove() -> dict[str, np.ndarray]:
    """5,050 frequent words and their 50-d GloVe vectors."""
    with open(config.DATA / "glove" / "glove-50d-5k.json") as file:
        return {word: np.asarray(vector, np.float32) for word, vector in json.load(file).items()}


def imagenet_names() -> list[list[str]]:
    """The 1,000 ImageNet classes, each a list of synonyms, in the order of the classifiers' outputs."""
    with open(config.DATA / "squeezenet" / "synset_words.txt") as file:
        return [[name.strip().lower() for name in line.strip().split(" ", 1)[1].split(",")] for line in file]
