"""Finishes the model: learns to tell the garments apart, and ties them to the text tower's words.

`python -m vs_mini.kinds`. Softmax regression on the pooled features of all shards, over the ten classes of
photos, the ten of Fashion-MNIST and "none of these" (emoji, clip art). Its answer pulls a picture's meaning
towards PULL times the embedding of the class name, so that pictures of a kind gather, also across a
kind's many looks, and gather where the words are. The epoch that does best on the internal split is kept.
"""

import os

import numpy as np
import torch
from torch.nn import functional as F

from . import config, metrics, shards, sources, text
from .train import Run

EPOCHS = 12
RATE = 2e-3


def rows(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and kinds of every view that may be trained on."""
    number = {name: i for i, name in enumerate(config.KINDS)}
    kinds = np.array([number.get(label, len(number)) for label in run.corpus.labels])
    features, answers = [], []
    for shard in sorted(run.batches.shards):
        index = np.load(shards.path("index", shard))
        keep = ~run.batches.held[index]
        features.append(run.details(run.tower, run.batches.shards[shard].stems, np.flatnonzero(keep)))
        answers.append(kinds[index[keep]])
        print(f"features of shard {shard}", flush=True)
    return torch.cat(features), torch.from_numpy(np.concatenate(answers))


@torch.inference_mode()
def judge(run: Run, clean: torch.Tensor) -> dict[str, float]:
    """The internal measures, on the vectors as they will be."""
    photos = run.corpus.of("clothing")
    held = run.batches.held[photos]
    labels = np.array([config.KINDS.index(run.corpus.labels[i]) for i in photos])
    vectors = run.tower.join(*run.tower.heads(clean)).numpy()
    one, five = metrics.precision(vectors[held], labels[held], vectors[~held], labels[~held], 5)
    return {"P@1": one, "P@5": five, "triplet accuracy": metrics.triplet_accuracy(vectors[held], labels[held], vectors[~held], labels[~held])}


def main():
    torch.set_num_threads(int(os.environ.get("VS_MINI_THREADS", "1")))
    run = Run()
    state = torch.load(config.CACHE / "towers.best.pt", weights_only=False)
    missing = run.tower.load_state_dict(state["tower"], strict=False).missing_keys
    assert set(missing) <= {"kinds.weight", "kinds.bias", "anchors"}, missing
    run.text.load_state_dict(state["text"])
    tower, words = run.tower.eval(), run.text.eval()
    tower.look_share.fill_(config.LOOK_SHARE)
    with torch.inference_mode():
        names = config.CLOTHING + [sources.FASHION_WORDS[name][0] for name in config.FASHION]
        anchors = words(*text.encode(run.tokenizer, names)) * config.PULL
    tower.anchors[:-1] = anchors

    features, answers = rows(run)
    mean, scale = features.mean(0), features.std(0) + 0.05
    features = (features - mean) / scale
    count = torch.bincount(answers, minlength=len(config.KINDS) + 1).float()
    weight = count.rsqrt() * count.sum() / count.sqrt().sum()
    clean = run.clean_details(tower, run.corpus.of("clothing"))

    linear = torch.nn.Linear(features.shape[1], len(config.KINDS) + 1)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimiser = torch.optim.AdamW(linear.parameters(), lr=RATE, weight_decay=0.05)
    generator = torch.Generator().manual_seed(config.SEED)
    best = -1.0
    for epoch in range(EPOCHS):
        optimiser.param_groups[0]["lr"] = RATE * (1 - epoch / EPOCHS)
        for part in torch.randperm(len(features), generator=generator).split(512):
            x = features[part]
            x = x * (torch.rand(x.shape, generator=generator) > 0.2) / 0.8
            loss = F.cross_entropy(linear(x), answers[part], weight=weight, label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            tower.kinds.weight.copy_(linear.weight / scale)
            tower.kinds.bias.copy_(linear.bias - (linear.weight / scale) @ mean)
        result = judge(run, clean)
        print(f"kinds {epoch + 1}/{EPOCHS} loss {float(loss.detach()):.3f}", {k: round(float(v), 4) for k, v in result.items()}, flush=True)
        if sum(result.values()) > best:
            best = sum(result.values())
            torch.save(dict(tower=tower.state_dict(), text=words.state_dict()), config.CACHE / "final.pt")


if __name__ == "__main__":
    main()
