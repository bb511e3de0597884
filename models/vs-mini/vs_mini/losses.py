"""The losses that are compared.

All take unit vectors. `alike` [n, n] marks pairs that should be near, `ignored` pairs about which nothing
is known (a dress on a photo and a dress of Fashion-MNIST: like in meaning, but no rule says how like).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of unit vectors, [n, m]; differentiable at zero."""
    return (2 - 2 * a @ b.T).clamp_min(1e-6).sqrt()


def triplet(x: Tensor, alike: Tensor, ignored: Tensor, margin: float = 0.4) -> Tensor:
    """Triplet loss with every positive and the hardest negative that is still farther (Schroff et al. 2015)."""
    d = distances(x, x)
    eye = torch.eye(len(x), dtype=torch.bool, device=x.device)
    positive = alike & ~eye
    negative = ~alike & ~ignored
    anchor, other = positive.nonzero(as_tuple=True)
    if len(anchor) == 0:
        return x.sum() * 0
    near = d[anchor, other]
    candidates = torch.where(negative[anchor] & (d[anchor] > near[:, None]), d[anchor], torch.inf)
    far = candidates.min(1).values
    far = torch.where(far.isinf(), torch.where(negative[anchor], d[anchor], -torch.inf).max(1).values, far)
    loss = F.relu(near - far + margin)
    return loss[far.isfinite()].mean()


def contrastive(x: Tensor, alike: Tensor, ignored: Tensor, margin: float = 1.0) -> Tensor:
    """Pull pairs together, push others beyond the margin (Hadsell et al. 2006), each kind weighing half."""
    d = distances(x, x)
    eye = torch.eye(len(x), dtype=torch.bool, device=x.device)
    positive, negative = alike & ~eye, ~alike & ~ignored
    return d[positive].square().mean() + F.relu(margin - d[negative]).square().mean()


def supervised_infonce(x: Tensor, alike: Tensor, ignored: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive learning (Khosla et al. 2020)."""
    eye = torch.eye(len(x), dtype=torch.bool, device=x.device)
    logits = (x @ x.T / temperature).masked_fill(eye | (ignored & ~alike), -1e4)
    logs = logits - logits.logsumexp(1, keepdim=True)
    positive = (alike & ~eye).float()
    return -((logs * positive).sum(1) / positive.sum(1).clamp_min(1))[positive.sum(1) > 0].mean()


def cross(a: Tensor, b: Tensor, alike: Tensor, ignored: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE between pictures a [n] and texts b [m >= n], both ways, with several right answers allowed.

    `alike` and `ignored` are [n, m]; the first n texts belong to the n pictures.
    """
    logits = (a @ b.T * scale).masked_fill(ignored & ~alike, -1e4)
    own = slice(0, len(a))
    weight = alike.float()
    rows = -(logits.log_softmax(1) * weight).sum(1) / weight.sum(1)
    columns = -(logits[:, own].log_softmax(0) * weight[:, own]).sum(0) / weight[:, own].sum(0)
    return (rows.mean() + columns.mean()) / 2


def instances(a: Tensor, b: Tensor, temperature: float = 0.1) -> Tensor:
    """Two views of one picture find each other among all others (Chen et al. 2020, one-sided pairs)."""
    logits = a @ b.T / temperature
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def memory(now: Tensor, before: Tensor, weight: Tensor, temperature: float = 2.0) -> Tensor:
    """Learning without forgetting (Li and Hoiem 2016): what a classifier said of each picture before, [n, classes], it still says."""
    before = (before / temperature).log_softmax(1)
    divergence = (before.exp() * (before - (now / temperature).log_softmax(1))).sum(1) * temperature**2
    return (divergence * weight).sum() / weight.sum()


OBJECTIVES = {"triplet": triplet, "contrastive": contrastive, "infonce": supervised_infonce}
