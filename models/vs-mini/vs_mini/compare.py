"""Compares the losses at equal budgets: `python -m vs_mini.compare`.

Each loss trains the meaning head alone, on the features of the network as ImageNet left it, from the same start (principal components), on the same batches of
garments, with the same optimiser and number of steps; no words, no other terms. Measured on the internal
split of the product photos.
"""

import os

import numpy as np
import torch
from torch.nn import functional as F

from . import config, losses, metrics, mobilenet, shards
from .batches import Batches, Phrases
from .model import PictureTower

STEPS = 150
SHARES = dict(clothing=96, fashion=32)
RATE = 1e-3


def main():
    torch.set_num_threads(int(os.environ.get("VS_MINI_THREADS", "1")))
    corpus, _, _ = shards.corpus()
    phrases = Phrases(corpus)
    photos = corpus.of("clothing")
    labels = np.array([config.KINDS.index(corpus.labels[i]) for i in photos])
    for name, objective in {"none": None, **losses.OBJECTIVES}.items():
        torch.manual_seed(config.SEED)
        batches = Batches(corpus, phrases, SHARES, seed=3)
        index, _, raw = batches.clean()
        raw = torch.from_numpy(np.array(raw)).float()
        position = {int(item): row for row, item in enumerate(index)}
        clean = raw[[position[int(i)] for i in photos]][:, -mobilenet.FEATURES:]
        held = batches.held[photos]
        tower = PictureTower()
        tower.start_heads(raw[torch.from_numpy(~batches.held[index])])
        optimiser = torch.optim.AdamW(tower.meaning.parameters(), lr=RATE, weight_decay=1e-4)
        for step in range(STEPS if objective else 0):
            optimiser.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            batch = batches.draw(classes=1, others=1)
            x = F.normalize(tower.meaning(batch.before[:, -mobilenet.FEATURES:]))
            kinds, groups = (torch.from_numpy(np.tile(part, 2)) for part in (batch.kinds, batch.groups))
            same = kinds[:, None] == kinds[None]
            loss = objective(x, same, (groups[:, None] == groups[None]) & ~same)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.inference_mode():
            vectors = F.normalize(tower.meaning(clean)).numpy()
        one, five = metrics.precision(vectors[held], labels[held], vectors[~held], labels[~held], 5)
        triplets = metrics.triplet_accuracy(vectors[held], labels[held], vectors[~held], labels[~held])
        print(f"{name:12} P@1 {one:.3f}  P@5 {five:.3f}  triplet accuracy {triplets:.4f}", flush=True)


if __name__ == "__main__":
    main()
