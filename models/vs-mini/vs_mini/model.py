"""The picture tower: MobileNet v2, its last blocks trained anew, and three linear maps of its features.

*meaning* and *look* are heads; *kinds* tells which garment a picture shows, if any, and pulls the meaning
towards what the text tower says for that garment: a hidden layer whose units have names.

An embedding is two unit vectors, scaled and set side by side: ``[cos(a) * meaning, sin(a) * look]``.
Its length is therefore one whatever the picture, and a text, ``[meaning, 0]``, is compared with the
meaning alone. Likeness between two pictures is the weighted sum of both likenesses, so one number,
LOOK_SHARE = sin(a)^2, trades "the same kind of thing" against "this very picture"; it is chosen on the
internal split after training.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import config, mobilenet

MIDDLE = 96
DETAILS = 2 * MIDDLE + mobilenet.FEATURES


class PictureTower(nn.Module):
    """From pixels or pooled features to meaning and look."""

    def __init__(self):
        super().__init__()
        self.backbone = mobilenet.MobileNetV2()
        self.meaning = nn.Linear(mobilenet.FEATURES, config.MEANING)
        self.look = nn.Linear(DETAILS, config.LOOK)
        self.kinds = nn.Linear(DETAILS, len(config.KINDS) + 1)  # the last one: none of them
        self.register_buffer("anchors", torch.zeros(len(config.KINDS) + 1, config.MEANING))
        self.register_buffer("look_share", torch.tensor(config.LOOK_SHARE))

    def pooled(self, pixels: Tensor) -> Tensor:
        """What the linear maps see, [n, DETAILS]: mean and maximum of the middle map, then the mean of the last."""
        return self.pool(*self.backbone(pixels))

    @staticmethod
    def pool(last: Tensor, middle: Tensor) -> Tensor:
        return torch.cat([middle.mean((2, 3)), middle.amax((2, 3)), last.mean((2, 3))], 1)

    def pooled_from(self, stems: Tensor) -> Tensor:
        """The same from cached stems [n, h, w, 64], a few at a time: larger maps would leave the processor's caches."""
        parts = (mobilenet.trained_tail(self.backbone, part.float()) for part in stems.split(32))
        return torch.cat([torch.cat([middle.mean((1, 2)), middle.amax((1, 2)), last.mean((1, 2))], 1) for last, middle in parts])

    def base(self, details: Tensor) -> Tensor:
        """The meaning before the garment's pull, [n, MEANING]."""
        return F.normalize(self.meaning(details[:, 2 * MIDDLE:]))

    def heads(self, details: Tensor) -> tuple[Tensor, Tensor]:
        """Meaning and look, unit vectors."""
        pull = self.kinds(details).softmax(1) @ self.anchors
        return F.normalize(self.base(details) + pull), F.normalize(self.look(details))

    def join(self, meaning: Tensor, look: Tensor) -> Tensor:
        return torch.cat([meaning * (1 - self.look_share).sqrt(), look * self.look_share.sqrt()], 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Pixels [n, 3, SIZE, SIZE] in 0..1 to embeddings [n, DIMS]."""
        return self.join(*self.heads(self.pooled(pixel_values)))

    def start_heads(self, details: Tensor):
        """Both heads start as principal components of their standardised inputs: a good embedding before any step."""
        for head, inputs in ((self.meaning, details[:, 2 * MIDDLE:]), (self.look, details)):
            mean, scale = inputs.mean(0), inputs.std(0) + 1e-3
            standard = (inputs - mean) / scale
            axes = torch.linalg.eigh(standard.T @ standard).eigenvectors.T.flip(0)
            with torch.no_grad():
                weight = axes[: head.out_features] / scale
                head.weight.copy_(weight)
                head.bias.copy_(-weight @ mean)


class TextOutput(nn.Module):
    """The text tower as shipped: meaning in front, zeros where a picture's look would be."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.tower = tower

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return F.pad(self.tower(input_ids, attention_mask), (0, config.LOOK))
