"""What the ImageNet classifier knows, without ImageNet's pictures.

The classifier's weights w_c separate classes in feature space. If features of a class were Gaussian with a
shared covariance S (linear discriminant analysis), then w_c = S^-1 (mu_c - mu), hence mu_c = mu + S w_c.
With S and mu measured on our own pictures, that gives every class a plausible mean feature; adding what
distinguishes a random real picture from its neighbours makes it a plausible *picture's* feature. The
meaning head and the text tower then learn that such a feature and the class's names belong together,
which is how the model comes to know 'dog' and 'teapot' without a photo of either.
"""

import torch
from torch import Tensor


class Classes:
    """Mean features [1000, 1280] and a sampler of made-up features."""

    def __init__(self, features: Tensor, weight: Tensor, bias: Tensor, strength: float = 4.0):
        self.mean = features.mean(0)
        centred = features - self.mean
        covariance = centred.T @ centred / len(features)
        direction = (weight - weight.mean(0)) @ covariance
        # In units of the typical distance of a picture from the mean.
        direction = direction / direction.norm(dim=1, keepdim=True) * centred.norm(dim=1).mean()
        self.direction, self.strength, self.weight, self.bias = direction, strength, weight, bias

    def sample(self, classes, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """A made-up feature [n, 1280] for every class number, varied by real features `pictures` [m, 1280]."""
        picks = torch.randint(len(pictures), (len(classes),), generator=generator)
        strength = self.strength * (0.4 + 0.6 * torch.rand(len(classes), 1, generator=generator))
        other = (pictures[picks] - self.mean) * 0.6
        return (self.mean + self.direction[torch.as_tensor(classes)] * strength * 0.5 + other).clamp(0, 6)

    def answers(self, features: Tensor) -> Tensor:
        """What the classifier says of features [n, 1280]."""
        return features @ self.weight.T + self.bias

    def confidence(self, features: Tensor, classes) -> float:
        """How often the classifier agrees."""
        return float((self.answers(features).argmax(1) == torch.as_tensor(classes)).float().mean())
