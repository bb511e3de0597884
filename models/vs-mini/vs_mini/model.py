"""The picture tower: MobileNet v2 and two heads.

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
LOOK_INPUT = 2 * MIDDLE + mobilenet.FEATURES


class PictureTower(nn.Module):
    """From stem features or pixels to meaning and look."""

    def __init__(self):
        super().__init__()
        self.backbone = mobilenet.MobileNetV2()
        self.meaning = nn.Linear(mobilenet.FEATURES, config.MEANING)
        self.look = nn.Linear(LOOK_INPUT, config.LOOK)
        self.register_buffer("look_share", torch.tensor(0.3))

    def pooled(self, stem: Tensor) -> tuple[Tensor, Tensor]:
        """Stem features to the inputs of the two heads, [n, 1280] and [n, LOOK_INPUT]."""
        last, middle = self.backbone.trunk(stem)
        features = last.mean((2, 3))
        return features, torch.cat([middle.mean((2, 3)), middle.amax((2, 3)), features], 1)

    @staticmethod
    def unpack(pooled: Tensor) -> tuple[Tensor, Tensor]:
        """The heads' inputs from how shards keep them: [features, middle]."""
        features, middle = pooled.split([mobilenet.FEATURES, 2 * MIDDLE], 1)
        return features, torch.cat([middle, features], 1)

    def heads(self, features: Tensor, details: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.meaning(features)), F.normalize(self.look(details))

    def from_stem(self, stem: Tensor) -> tuple[Tensor, Tensor]:
        return self.heads(*self.pooled(stem))

    def join(self, meaning: Tensor, look: Tensor) -> Tensor:
        return torch.cat([meaning * (1 - self.look_share).sqrt(), look * self.look_share.sqrt()], 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Pixels [n, 3, SIZE, SIZE] in 0..1 to embeddings [n, DIMS]."""
        return self.join(*self.from_stem(self.backbone.stem(pixel_values)))

    def start_heads(self, features: Tensor, details: Tensor):
        """Both heads start as principal components of their standardised inputs: a good embedding before any step."""
        for head, inputs in ((self.meaning, features), (self.look, details)):
            mean, scale = inputs.mean(0), inputs.std(0) + 1e-3
            _, _, axes = torch.linalg.svd((inputs - mean) / scale, full_matrices=False)
            with torch.no_grad():
                weight = axes[: head.out_features] / scale
                head.weight.copy_(weight)
                head.bias.copy_(-weight @ mean)

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters training may change: all but the stem."""
        fixed = ["backbone.first."] + [f"backbone.blocks.{i}." for i in range(mobilenet.FIRST_TRAINED)]
        return [(name, p) for name, p in self.named_parameters() if not name.startswith(tuple(fixed))]


class TextOutput(nn.Module):
    """The text tower as shipped: meaning in front, zeros where a picture's look would be."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.tower = tower

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return F.pad(self.tower(input_ids, attention_mask), (0, config.LOOK))
