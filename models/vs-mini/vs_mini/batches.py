"""What goes into a step: views, the phrases that name them, and which phrase fits which picture."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import config, shards, sources, text, views

# A photo of one class and a Fashion-MNIST picture of its counterpart: neither like nor unlike.
COUNTERPART = {"t-shirt": "t-shirt", "trouser": "pants", "pullover": "longsleeve", "dress": "dress", "coat": "outwear",
               "sandal": "shoes", "shirt": "shirt", "sneaker": "shoes", "bag": "bag", "ankle boot": "shoes"}
PLAIN = 0.7  # share of a garment's phrases without its colour
CLASS_NAME = 0.4  # and share of those that are the class name itself


class Phrases:
    """All phrases, numbered; for every label, which phrases fit it."""

    def __init__(self, corpus: shards.Corpus):
        self.numbers: dict[str, int] = {}
        self.strings: list[str] = []
        self.labels: dict[str, int] = {}
        fits: list[list[int]] = []

        def label(name: str, phrases: list[str]) -> int:
            if name not in self.labels:
                self.labels[name] = len(fits)
                fits.append([self.number(phrase) for phrase in phrases])
            return self.labels[name]

        self.item_label = np.empty(len(corpus.labels), np.int64)
        self.item_kind = np.empty(len(corpus.labels), np.int64)  # like with like: class, emoji, clip art
        kinds: dict[str, int] = {}
        groups: dict[str, int] = {}
        group_of_label: list[int] = []

        for i, (name, phrases) in enumerate(zip(corpus.labels, corpus.phrases)):
            source, kind = name.split("/", 1)
            group = {"clothing": kind, "fashion": COUNTERPART.get(kind)}.get(source, name)
            self.item_kind[i] = kinds.setdefault(name, len(kinds))
            full = name
            if source == "clothing":
                colour = corpus.colours[i]
                full = f"{name}/{colour}"
                if colour >= 0 and full not in self.labels:
                    tint = views.COLOURS[colour]
                    names = [tint] + (["gray"] if tint == "grey" else [])
                    phrases = phrases + [f"{t} {word}" for t in names for word in phrases]
            number = label(full, phrases)
            if number == len(group_of_label):
                group_of_label.append(groups.setdefault(group, len(groups)))
            self.item_label[i] = number
        self.imagenet = []
        for index, names in enumerate(sources.imagenet_names()):
            number = label(f"imagenet/{index}", names)
            group_of_label.append(groups.setdefault(f"imagenet/{index}", len(groups)))
            self.imagenet.append(number)
        self.imagenet = np.array(self.imagenet)
        self.fits = fits
        self.group = np.array(group_of_label)
        self.valid = np.zeros((len(fits), len(self.strings)), bool)
        for i, row in enumerate(fits):
            self.valid[i, row] = True
        # A phrase belongs to a group if some label of the group has it.
        self.phrase_groups = [set() for _ in self.strings]
        for i, row in enumerate(fits):
            for phrase in row:
                self.phrase_groups[phrase].add(self.group[i])
        self.garments = {self.group[self.labels[n]] for n in self.labels if n.startswith(("clothing/", "fashion/"))}
        self.garment_phrase = np.zeros((max(self.group) + 1, len(self.strings)), bool)
        for phrase, owners in enumerate(self.phrase_groups):
            for owner in owners & self.garments:
                self.garment_phrase[owner, phrase] = True
        self.colour_known = np.array([not name.endswith("/-1") for name in self.labels])
        self.coloured = np.array([string.split(" ", 1)[0] in (*views.COLOURS, "gray") for string in self.strings])
        self.is_photo = np.array([name.startswith("clothing/") for name in self.labels])

    def number(self, phrase: str) -> int:
        if phrase not in self.numbers:
            self.numbers[phrase] = len(self.strings)
            self.strings.append(phrase)
        return self.numbers[phrase]

    def draw(self, label: int, rng: np.random.Generator) -> int:
        """A phrase for a label; garments get their class name often and their colour sometimes."""
        row = self.fits[label]
        if not self.is_photo[label]:
            return row[rng.integers(len(row))]
        plain = [phrase for phrase in row if not self.coloured[phrase]]
        if len(plain) == len(row) or rng.random() < PLAIN:
            return plain[0] if rng.random() < CLASS_NAME else plain[rng.integers(len(plain))]
        return row[rng.integers(len(plain), len(row))]

    def relation(self, labels: np.ndarray, phrases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which phrases fit [n, m], and about which nothing is known."""
        alike = self.valid[np.ix_(labels, phrases)]
        same_group = self.garment_phrase[np.ix_(self.group[labels], phrases)]
        # The colour of this photo is known and the phrase names another: that is a real difference.
        differs = (self.is_photo & self.colour_known)[labels][:, None] & self.coloured[phrases][None]
        return alike, same_group & ~alike & ~differs


@dataclass
class Batch:
    """Two views of n pictures, first all of one and then all of the other: stems, and features as they were before training;
    what the pictures are; then captions of theirs, of the ImageNet classes, and others' captions."""

    stems: Tensor
    before: Tensor
    items: np.ndarray
    kinds: np.ndarray
    groups: np.ndarray
    families: np.ndarray  # -1: unknown
    labels: np.ndarray
    classes: np.ndarray
    phrases: np.ndarray


@dataclass
class Shard:
    """Rows of each item, the views' stems and features, and by source the items to draw from with their chances."""

    rows: dict[int, list[int]]
    stems: np.ndarray
    pooled: np.ndarray
    pools: dict[str, tuple[np.ndarray, np.ndarray | None]]


class Batches:
    """Draws batches from the shards on disk, new ones as they appear."""

    def __init__(self, corpus: shards.Corpus, phrases: Phrases, shares: dict[str, int], seed: int):
        self.corpus, self.phrases, self.shares = corpus, phrases, shares
        self.rng = np.random.default_rng([config.SEED, seed])
        self.held = corpus.held
        names = sorted({family for family in corpus.families if family})
        numbers = {name: number for number, name in enumerate(names)} | {"": -1}
        self.families = np.array([numbers[family] for family in corpus.families])
        sizes = np.bincount(self.families + 1)
        sizes[0] = 0
        # A family twice as large is drawn from only 1.4 times as often, or flags would be everywhere.
        self.chance = np.where(self.families >= 0, 1 / np.sqrt(np.maximum(sizes[self.families + 1], 1)), 0.1)
        self.shards: dict[int, Shard] = {}
        self.refresh()

    def refresh(self):
        """Looks for shards that have been finished since."""
        for path in sorted(config.CACHE.glob(f"pooled{config.SIZE}-[0-9][0-9][0-9].npy")):
            number = int(path.stem[-3:])
            if number in self.shards:
                continue
            rows: dict[int, list[int]] = {}
            for row, item in enumerate(np.load(shards.path("index", number))):
                rows.setdefault(int(item), []).append(row)
            pools = {}
            for source in self.shares:
                part = [item for item in rows if item in self.corpus.ranges[source] and not self.held[item]]
                if part:
                    chance = self.chance[part] / self.chance[part].sum() if source in ("emoji", "clipart") else None
                    pools[source] = (np.array(part), chance)
            self.shards[number] = Shard(rows, np.load(shards.path("stem", number), mmap_mode="r"), np.load(path, mmap_mode="r"), pools)

    def draw(self, classes: int = 64, others: int = 256) -> Batch:
        rng = self.rng
        chosen, first, second = [], [], []
        for source, count in self.shares.items():
            having = [shard for shard in self.shards.values() if source in shard.pools]
            pool, chance = having[rng.integers(len(having))].pools[source]
            for item in rng.choice(pool, min(count, len(pool)), replace=False, p=chance):
                places = [(shard, row) for shard in having for row in shard.rows.get(int(item), [])]
                one, other = (places[p] for p in rng.choice(len(places), 2, replace=len(places) < 2))
                chosen.append(int(item))
                first.append(one)
                second.append(other)
        both = first + second
        chosen = np.array(chosen)
        labels = self.phrases.item_label[chosen]
        imagenet = rng.choice(1000, classes, replace=False)
        all_labels = np.concatenate([labels, self.phrases.imagenet[imagenet]])
        captions = np.array([self.phrases.draw(label, rng) for label in all_labels])
        extra = rng.integers(len(self.phrases.strings), size=others)
        return Batch(
            torch.from_numpy(np.stack([shard.stems[row] for shard, row in both])),
            torch.from_numpy(np.stack([shard.pooled[row] for shard, row in both])).float(),
            chosen, self.phrases.item_kind[chosen], self.phrases.group[labels], self.families[chosen], all_labels, imagenet,
            np.concatenate([captions, extra]),
        )

    def clean(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Item numbers, stems and features before training of the unaugmented pictures."""
        return np.load(shards.path("index", 0)), self.shards[0].stems, self.shards[0].pooled


def make_tokenizer(phrases: Phrases):
    """The tokenizer for these phrases, kept beside the checkpoints so that a resumed run numbers tokens alike."""
    path = config.CACHE / "tokenizer.json"
    if not path.exists():
        words = [word for word in sources.glove() if word.isascii() and word.isalpha() and len(word) > 1]
        text.save(text.build_tokenizer(phrases.strings, words), path)
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))
