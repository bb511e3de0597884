"""Finishes the text tower: `python -m vs_mini.words`, after `vs_mini.kinds`.

The picture tower is settled now, and a step of the text tower alone costs a tenth of a second; so the words are fitted to the
pictures for longer than a step of both could be afforded. Same phrases and loss as in `vs_mini.train`, on the
meanings of the clean pictures and of one augmented view.
"""

import os

import numpy as np
import torch
from torch.nn import functional as F

from . import config, losses, metrics, mobilenet, text
from .train import CLASSES, FRAMES, Run

SHARDS = 2
STEPS = 500
EVERY = 100
RATE = 2e-3
OTHERS = 512


@torch.inference_mode()
def judge(run: Run, words, meanings: dict[int, np.ndarray]) -> dict[str, float]:
    """Internal measures: garments held back by their class names, emoji by their own."""
    photos, emoji, held = run.corpus.of("clothing"), run.corpus.of("emoji"), run.batches.held

    def embed(phrases):
        return words.eval()(*text.encode(run.tokenizer, phrases)).numpy()

    asked = photos[held[photos]]
    labels = np.array([config.CLOTHING.index(run.corpus.labels[i].split("/")[1]) for i in asked])
    garments = metrics.words_precision(embed(config.CLOTHING), np.stack([meanings[i] for i in asked]), labels, 8)
    texts, pictures = embed([run.corpus.phrases[i][0] for i in emoji]), np.stack([meanings[i] for i in emoji])
    return {"words P@8": float(garments.mean()), "emoji R@9": metrics.recall(texts, pictures, ~held[emoji]),
            "emoji R@9 unseen": metrics.recall(texts, pictures, held[emoji])}


def main():
    torch.set_num_threads(int(os.environ.get("VS_MINI_THREADS", "1")))
    run = Run()
    state = torch.load(config.CACHE / "final.pt", weights_only=False)
    scale = torch.load(config.CACHE / "towers.best.pt", weights_only=False)["scale"].exp()
    run.tower.load_state_dict(state["tower"])
    run.text.load_state_dict(state["text"])
    tower, words = run.tower.eval(), run.text
    run.batches.shares = dict(clothing=48, emoji=160, clipart=64, fashion=16)
    run.batches.shards = {number: run.batches.shards[number] for number in range(SHARDS)}
    features = torch.from_numpy(np.array(run.batches.shards[0].pooled[:, -mobilenet.FEATURES:])).float()
    with torch.inference_mode():
        for shard in run.batches.shards.values():
            shard.pooled = tower.heads(run.details(tower, shard.stems, np.arange(len(shard.stems))))[0].numpy()
    index = run.batches.clean()[0]
    meanings = {int(item): row for item, row in zip(index, run.batches.shards[0].pooled)}
    best = judge(run, words, meanings)
    print("start", {k: round(v, 3) for k, v in best.items()}, flush=True)

    optimiser = torch.optim.AdamW(words.parameters(), lr=RATE, weight_decay=1e-4, betas=(0.9, 0.98))
    for step in range(STEPS):
        batch = run.batches.draw(CLASSES, OTHERS)
        n = len(batch.items)
        with torch.no_grad():
            made = F.normalize(tower.meaning(run.classes.sample(batch.classes, features, run.generator)))
        pictures = torch.cat([batch.before[:n] if step % 2 else batch.before[n:], made])
        frames = run.batches.rng.integers(len(FRAMES), size=len(batch.phrases))
        ids, mask = run.ids[frames, batch.phrases], run.mask[frames, batch.phrases]
        tokens = int(mask.sum(1).max())
        alike, ignored = (torch.from_numpy(m) for m in run.phrases.relation(batch.labels, batch.phrases))
        loss = losses.cross(pictures, words.train()(ids[:, :tokens], mask[:, :tokens]), alike, ignored, scale)
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 20) * (0.01 + 0.99 * (1 - step / STEPS))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % EVERY == 0:
            result = judge(run, words, meanings)
            print(f"words {step + 1}/{STEPS} loss {float(loss.detach()):.3f}", {k: round(v, 3) for k, v in result.items()}, flush=True)
            if result["words P@8"] + result["emoji R@9"] > best["words P@8"] + best["emoji R@9"]:  # the unseen decide nothing
                best = result
                torch.save(dict(tower=tower.state_dict(), text=words.state_dict()), config.CACHE / "finished.pt")


if __name__ == "__main__":
    main()
