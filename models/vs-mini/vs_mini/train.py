"""Trains the heads and the text tower: `python -m vs_mini.train`; `python -m vs_mini.kinds` finishes the model.

Keeps a checkpoint of everything that decides the next step (weights, optimiser, random state), goes on from
it when started again, and stops when the internal split has not improved for a while. Standard output
tells losses, speed and the internal measures.
"""

import argparse
import copy
import os
import time

import numpy as np
import torch

from . import config, imagenet, losses, metrics, mobilenet, shards, sources, text
from .batches import Batches, Phrases, make_tokenizer

SHARES = dict(clothing=128, emoji=96, clipart=64, fashion=64)  # pictures of a step, two views each
CLASSES = 64  # ImageNet classes in a step
OTHERS = 256  # phrases of other pictures in a step
RATE = 2e-3
STEPS = 400
EVERY = 100  # steps between evaluations
WEIGHTS = {"words": 1.0, "kinds": 1.0, "look": 0.5}
PATIENCE = 5


class Run:
    """The state of training, and a step of it."""

    def __init__(self, name: str = "heads", steps: int = STEPS):
        self.name, self.steps = name, steps
        torch.manual_seed(config.SEED)
        self.corpus, _, _ = shards.corpus()
        self.phrases = Phrases(self.corpus)
        self.tokenizer = make_tokenizer(self.phrases)
        self.ids, self.mask = text.encode(self.tokenizer, self.phrases.strings)
        self.batches = Batches(self.corpus, self.phrases, SHARES, seed=1)
        self.tower, (weight, bias) = shards.start()
        self.text = text.TextTower(self.tokenizer.get_vocab_size())
        self.text.start_from(self.tokenizer, sources.glove())
        index = np.load(shards.path("index", 0))
        clean = torch.from_numpy(np.array(self.batches.clean()[1][~self.batches.held[index]])).float()
        self.tower.start_heads(clean)
        self.classes = imagenet.Classes(clean[:, -mobilenet.FEATURES:], weight, bias)
        self.scale = torch.nn.Parameter(torch.tensor(15.0).log())
        self.generator = torch.Generator().manual_seed(config.SEED)
        self.step_number, self.best, self.best_step = 0, -1.0, 0
        for module in (self.tower.backbone, self.tower.kinds):
            module.requires_grad_(False)
        self.parameters = [p for p in (*self.tower.parameters(), *self.text.parameters(), self.scale) if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=RATE, weight_decay=1e-4, betas=(0.9, 0.98))
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
        n = len(batch.a)
        details = torch.cat([batch.a, batch.b])
        meaning, look = self.tower.heads(details)
        made = self.classes.sample(batch.classes, details[:, -mobilenet.FEATURES:], self.generator)
        made_meaning = torch.nn.functional.normalize(self.tower.meaning(made))
        tokens = int(self.mask[batch.phrases].sum(1).max())
        words = self.text(self.ids[batch.phrases][:, :tokens], self.mask[batch.phrases][:, :tokens])

        alike, ignored = (torch.from_numpy(m) for m in self.phrases.relation(batch.labels, batch.phrases))
        view = torch.cat([meaning[:n] if self.step_number % 2 else meaning[n:], made_meaning])
        scale = self.scale.exp().clamp(max=60)
        parts = {"words": losses.cross(view, words, alike, ignored, scale)}

        kinds = torch.from_numpy(np.tile(batch.kinds, 2))
        groups = torch.from_numpy(np.tile(batch.groups, 2))
        same = kinds[:, None] == kinds[None]
        parts["kinds"] = losses.supervised_infonce(meaning, same, (groups[:, None] == groups[None]) & ~same)
        parts["look"] = losses.instances(look[:n], look[n:])
        loss = sum(WEIGHTS[name] * value for name, value in parts.items())

        done = self.step_number / self.steps
        warm = min(1.0, (self.step_number + 1) / 40)
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(done, 1))))
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
    def embed_clean(self, wanted: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        index, raw = self.batches.clean()
        rows = {int(item): row for row, item in enumerate(index)}
        rows = [rows[int(item)] for item in wanted]
        return self.average[0].eval().heads(torch.from_numpy(np.stack([raw[row] for row in rows])).float())

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
            joined = tower.join(meaning[:n], look[:n]).numpy()
            one, five = metrics.precision(joined[held], labels[held], joined[~held], labels[~held], 5)
            result |= {f"P@1{suffix}": one, f"P@5{suffix}": five}
        tower.look_share.fill_(config.LOOK_SHARE)
        words = metrics.words_precision(self.embed_words(config.CLOTHING), meaning[:n].numpy()[held], labels[held], 8)
        result["words P@8"] = float(words.mean())
        names = [self.corpus.phrases[i][0] for i in emoji]
        result["emoji R@9"] = metrics.recall(self.embed_words(names), meaning[n:].numpy())
        result["score"] = (result["P@1"] + result["P@5"] + 0.5 * result["words P@8"] + 0.5 * result["emoji R@9"]) / 3
        return result

    def run(self):
        if self.path("last").exists():
            self.resume()
            print(f"going on after step {self.step_number}", flush=True)
        else:
            features = torch.from_numpy(np.array(self.batches.clean()[1][:, -mobilenet.FEATURES:])).float()
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
                if self.step_number - self.best_step >= PATIENCE * EVERY:
                    print("no better for a while: stopping", flush=True)
                    break
                self.batches.refresh()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="heads", help="of the checkpoints")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("VS_MINI_THREADS", "1")))
    Run(options.name, options.steps).run()


if __name__ == "__main__":
    main()
