"""Trains the towers: `python -m vs_mini.train`; `python -m vs_mini.kinds` finishes the model.

First the heads and the text tower alone, on features as ImageNet left them, which costs next to nothing; then the
last blocks of the network with them, at a lower rate. Keeps a checkpoint of everything that decides the next step
(weights, optimiser, random state), goes on from it when started again, and stops when the internal split has not improved
for a while. Standard output tells losses, speed and the internal measures.
"""

import argparse
import copy
import os
import time

import numpy as np
import torch
from torch.nn import functional as F

from . import config, imagenet, losses, metrics, mobilenet, shards, sources, text
from .batches import Batches, Phrases, make_tokenizer

SHARES = dict(clothing=72, emoji=88, clipart=48, fashion=24)  # pictures of a step, two views each
CLASSES = 64  # ImageNet classes in a step
OTHERS = 256  # phrases of other pictures in a step
HEADS = 200  # steps for which the network stays as it is
STEPS = 550
SCHEDULE = 600  # where the rate would reach its least; the last steps, at nearly none, are left out
RATE = 2e-3
TAIL_RATE = 3e-4
EVERY = 50  # steps between evaluations
PATIENCE = 5
WEIGHTS = {"words": 1.0, "kinds": 1.0, "family": 0.5, "look": 0.7, "memory": 1.0}
# How much of what the ImageNet classifier said of a picture is to be kept: all for photos, little for drawings.
MEMORY = dict(clothing=1.0, emoji=0.1, clipart=0.3, fashion=0.1)
# People put words around a name.
FRAMES = ["{}"] * 5 + ["a {}", "the {}", "picture of a {}"]


class Run:
    """The state of training, and a step of it."""

    def __init__(self, name: str = "towers", steps: int = STEPS):
        self.name, self.steps = name, steps
        torch.manual_seed(config.SEED)
        self.corpus, _, _ = shards.corpus()
        self.phrases = Phrases(self.corpus)
        self.tokenizer = make_tokenizer(self.phrases)
        ids, mask = text.encode(self.tokenizer, [frame.format(phrase) for frame in FRAMES for phrase in self.phrases.strings])
        self.ids, self.mask = (part.view(len(FRAMES), len(self.phrases.strings), -1) for part in (ids, mask))
        self.batches = Batches(self.corpus, self.phrases, SHARES, seed=1)
        self.tower, (weight, bias) = shards.start()
        self.text = text.TextTower(self.tokenizer.get_vocab_size())
        self.text.start_from(self.tokenizer, sources.glove())
        index = np.load(shards.path("index", 0))
        clean = torch.from_numpy(np.array(self.batches.clean()[2][~self.batches.held[index]])).float()
        self.tower.start_heads(clean)
        self.classes = imagenet.Classes(clean[:, -mobilenet.FEATURES:], weight, bias)
        self.keep = np.zeros(len(self.corpus.keys), np.float32)
        for source, amount in MEMORY.items():
            self.keep[self.corpus.of(source)] = amount
        self.scale = torch.nn.Parameter(torch.tensor(15.0).log())
        self.generator = torch.Generator().manual_seed(config.SEED)
        self.step_number, self.best, self.best_step = 0, -1.0, 0
        network = self.tower.backbone
        for module in (network.first, *network.blocks[:mobilenet.CUT], self.tower.kinds):
            module.requires_grad_(False)
        tail = [p for p in network.parameters() if p.requires_grad]
        heads = [*self.tower.meaning.parameters(), *self.tower.look.parameters(), *self.text.parameters(), self.scale]
        self.parameters = heads + tail
        self.optimiser = torch.optim.AdamW([dict(params=heads, rate=RATE, start=0), dict(params=tail, rate=TAIL_RATE, start=HEADS)],
                                           lr=RATE, weight_decay=1e-4, betas=(0.9, 0.98))
        self.average = copy.deepcopy((self.tower, self.text))

    # ---- checkpoints -----------------------------------------------------------------------------------

    def path(self, kind: str):
        return config.CACHE / f"{self.name}.{kind}.pt"

    def save(self, kind: str, average: bool):
        tower, words = self.average if average else (self.tower, self.text)
        state = dict(tower=tower.state_dict(), text=words.state_dict(), scale=self.scale.detach())
        if not average:
            state |= dict(average=[m.state_dict() for m in self.average], optimiser=self.optimiser.state_dict(), step=self.step_number,
                          best=(self.best, self.best_step), rng=self.batches.rng.bit_generator.state,
                          torch=torch.get_rng_state(), generator=self.generator.get_state())
        partial = self.path("partial")
        torch.save(state, partial)
        partial.rename(self.path(kind))

    def resume(self):
        state = torch.load(self.path("last"), weights_only=False)
        self.tower.load_state_dict(state["tower"])
        self.text.load_state_dict(state["text"])
        with torch.no_grad():
            self.scale.copy_(state["scale"])
        for module, saved in zip(self.average, state["average"]):
            module.load_state_dict(saved)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_number = state["step"]
        self.best, self.best_step = state["best"]
        self.batches.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch"])
        self.generator.set_state(state["generator"])

    # ---- a step ------------------------------------------------------------------------------------------

    def step(self) -> dict[str, float]:
        batch = self.batches.draw(CLASSES, OTHERS)
        n = len(batch.items)
        details = batch.before if self.step_number < HEADS else self.tower.pooled_from(batch.stems)
        features, before = details[:, -mobilenet.FEATURES:], batch.before[:, -mobilenet.FEATURES:]
        meaning, look = self.tower.heads(F.dropout(details, 0.1))
        made = self.classes.sample(batch.classes, before, self.generator)
        made_meaning = F.normalize(self.tower.meaning(made))
        frames = self.batches.rng.integers(len(FRAMES), size=len(batch.phrases))
        ids, mask = self.ids[frames, batch.phrases], self.mask[frames, batch.phrases]
        tokens = int(mask.sum(1).max())
        words = self.text(ids[:, :tokens], mask[:, :tokens])

        alike, ignored = (torch.from_numpy(m) for m in self.phrases.relation(batch.labels, batch.phrases))
        view = torch.cat([meaning[:n] if self.step_number % 2 else meaning[n:], made_meaning])
        scale = self.scale.exp().clamp(max=60)
        parts = {"words": losses.cross(view, words, alike, ignored, scale)}

        def pairs(numbers):
            numbers = torch.from_numpy(np.tile(numbers, 2))
            return numbers[:, None] == numbers[None]

        same, known = pairs(batch.kinds), torch.from_numpy(np.tile(batch.families >= 0, 2))
        related = pairs(batch.families) & known[:, None]
        parts["kinds"] = losses.supervised_infonce(meaning, same, (pairs(batch.groups) | related) & ~same)
        # An emoji and a piece of clip art may well be of one family under two names.
        sources_differ = ~pairs(np.isin(batch.items, self.corpus.of("emoji")))
        parts["family"] = losses.supervised_infonce(meaning[known], related[known][:, known], sources_differ[known][:, known], 0.2)
        parts["look"] = losses.instances(look[:n], look[n:])
        if self.step_number >= HEADS:
            keep = torch.from_numpy(np.tile(self.keep[batch.items], 2))
            parts["memory"] = losses.memory(self.classes.answers(features), self.classes.answers(before), keep)
        loss = sum(WEIGHTS[name] * value for name, value in parts.items())

        for group in self.optimiser.param_groups:
            done = self.step_number / SCHEDULE
            warm = min(1.0, max(0, self.step_number + 1 - group["start"]) / 40)
            group["lr"] = group["rate"] * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(done, 1))))
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimiser.step()
        self.step_number += 1
        decay = min(0.98, self.step_number / (self.step_number + 10))
        with torch.no_grad():
            for mean, live in zip(self.average, (self.tower, self.text)):
                for a, b in zip(mean.parameters(), live.parameters()):
                    if a.requires_grad:
                        a.lerp_(b, 1 - decay)
        return {name: float(value) for name, value in parts.items()}

    # ---- the internal measures -----------------------------------------------------------------------------

    @torch.inference_mode()
    def details(self, tower, stems: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """Pooled features of some views as `tower` sees them."""
        return torch.cat([tower.pooled_from(torch.from_numpy(stems[part])) for part in np.array_split(rows, len(rows) // 256 + 1)])

    def clean_details(self, tower, wanted: np.ndarray) -> torch.Tensor:
        index, stems, _ = self.batches.clean()
        rows = {int(item): row for row, item in enumerate(index)}
        return self.details(tower, stems, np.array([rows[int(item)] for item in wanted]))

    @torch.inference_mode()
    def embed_clean(self, wanted: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self.average[0].eval().heads(self.clean_details(self.average[0], wanted))

    @torch.inference_mode()
    def embed_words(self, phrases: list[str]) -> np.ndarray:
        return self.average[1].eval()(*text.encode(self.tokenizer, phrases)).numpy()

    def evaluate(self) -> dict[str, float]:
        clothing = self.corpus.of("clothing")
        emoji = self.corpus.of("emoji")
        meaning, look = self.embed_clean(np.concatenate([clothing, emoji]))
        n = len(clothing)
        held = self.batches.held[clothing]
        labels = np.array([config.CLOTHING.index(self.corpus.labels[i].split("/")[1]) for i in clothing])
        result = {}
        for share, suffix in ((0.0, " of meaning"), (config.LOOK_SHARE, "")):
            tower = self.average[0]
            tower.look_share.fill_(share)
            joined = tower.join(meaning, look).numpy()
            photos = joined[:n]
            one, five = metrics.precision(photos[held], labels[held], photos[~held], labels[~held], 5)
            result |= {f"P@1{suffix}": one, f"P@5{suffix}": five}
        tower.look_share.fill_(config.LOOK_SHARE)
        words = metrics.words_precision(self.embed_words(config.CLOTHING), meaning[:n].numpy()[held], labels[held], 8)
        result["words P@8"] = float(words.mean())
        names = [self.corpus.phrases[i][0] for i in emoji]
        texts, unseen, families = self.embed_words(names), self.batches.held[emoji], self.batches.families[emoji]
        for which, suffix in ((~unseen, ""), (unseen, " unseen")):  # the unseen are shown and decide nothing
            result[f"emoji R@9{suffix}"] = metrics.recall(texts, meaning[n:].numpy(), which)
            result[f"family{suffix}"] = metrics.family_share(joined[n:], families, which)
        result["score"] = (result["P@1"] + result["P@5"] + 0.5 * result["words P@8"] + 0.5 * result["emoji R@9"] + 0.5 * result["family"]) / 3.5
        return result

    def run(self):
        if self.path("last").exists():
            self.resume()
            print(f"going on after step {self.step_number}", flush=True)
        else:
            features = torch.from_numpy(np.array(self.batches.clean()[2][:, -mobilenet.FEATURES:])).float()
            made = self.classes.sample(np.arange(1000), features, self.generator)
            print(f"classifier agrees with made-up features: {self.classes.confidence(made, np.arange(1000)):.3f}", flush=True)
            print("start", {k: round(v, 3) for k, v in self.evaluate().items()}, flush=True)
        started, first = time.time(), self.step_number
        history: list[dict[str, float]] = []
        while self.step_number < self.steps:
            self.tower.eval()
            self.text.train()
            history.append(self.step())
            if self.step_number % 25 == 0:
                mean = {k: round(float(np.mean([h[k] for h in history[-25:] if k in h])), 3) for k in history[-1]}
                pace = (time.time() - started) / (self.step_number - first)
                print(f"{self.name} {self.step_number}/{self.steps} {mean} {pace:.2f} s/step", flush=True)
            if self.step_number % EVERY == 0 or self.step_number == self.steps:
                result = self.evaluate()
                print(f"{self.name} {self.step_number}", {k: round(v, 3) for k, v in result.items()}, flush=True)
                if result["score"] > self.best:
                    self.best, self.best_step = result["score"], self.step_number
                    self.save("best", average=True)
                self.save("last", average=False)
                if self.step_number - max(self.best_step, HEADS) >= PATIENCE * EVERY:
                    print("no better for a while: stopping", flush=True)
                    break
                self.batches.refresh()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="towers", help="of the checkpoints")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("VS_MINI_THREADS", "1")))
    Run(options.name, options.steps).run()


if __name__ == "__main__":
    main()
