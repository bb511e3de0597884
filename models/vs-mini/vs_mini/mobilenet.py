"""MobileNet v2 in PyTorch, started from the weights of a quantised TFLite file.

The TFLite files hold 8-bit convolutions with batch normalisation already folded in. Undoing the
quantisation (weight = scale * (q - zero point), bias = input scale * weight scale * q) gives an ordinary
float network. TensorFlow's SAME padding puts the odd pixel at the bottom
and the right, hence the explicit pads before strided convolutions.

Reference: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
"""

import numpy as np
import tflite
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# (expansion, output channels, repeats, stride of the first)
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
FEATURES = 1280
# The blocks before this one stay as they are; from here on the network is trained. The input of this block, the
# `stem` [64, s/16, s/16], is the smallest map there is near the middle.
CUT = 10
# The output of the block before this one, [96, s/16, s/16], is the `middle` map.
MIDDLE_END = 13


class Conv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding and an optional ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            assert x.shape[-1] % 2 == 0, "sides are even at every stride"
            x = F.pad(x, (0, 1, 0, 1))
        x = super().forward(x)
        return F.relu6(x) if self.relu else x


class Block(nn.Module):
    """An inverted residual: widen, filter per channel, narrow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int):
        super().__init__()
        wide = inputs * expansion
        self.expand = Conv(inputs, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Conv(wide, wide, 3, stride, groups=wide)
        self.project = Conv(wide, outputs, 1, relu=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Pictures [n, 3, s, s] in 0..1 to feature maps; `s` is a multiple of 32."""

    def __init__(self):
        super().__init__()
        self.first = Conv(3, 32, 3, 2)
        blocks, channels = [], 32
        for expansion, outputs, repeats, stride in BLOCKS:
            for repeat in range(repeats):
                blocks.append(Block(channels, outputs, expansion, stride if repeat == 0 else 1))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.last = Conv(channels, FEATURES, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The map before pooling [n, 1280, s/32, s/32], and the middle one [n, 96, s/16, s/16]."""
        return self.tail(self.stem(pixels))

    def stem(self, pixels: Tensor) -> Tensor:
        """The part that stays as it is."""
        x = self.first(pixels * 2 - 1)
        for block in self.blocks[:CUT]:
            x = block(x)
        return x

    def tail(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The part that is trained."""
        for block in self.blocks[CUT:MIDDLE_END]:
            x = block(x)
        middle = x
        for block in self.blocks[MIDDLE_END:]:
            x = block(x)
        return self.last(x), middle


# ---- the tail, for training ---------------------------------------------------------------------------------
#
# The same arithmetic as MobileNetV2.tail on maps [n, h, w, channels], arranged so that a step is cheap on one core:
# 1 x 1 convolutions are matrix products, in bfloat16 where the processor multiplies that fast.

FAST = torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def pointwise(x: Tensor, conv: Conv) -> Tensor:
    y = F.linear(x.to(FAST), conv.weight[:, :, 0, 0].to(FAST), conv.bias.to(FAST))
    return F.hardtanh(y, 0, 6) if conv.relu else y


def depthwise(x: Tensor, conv: Conv) -> Tensor:
    return conv(x.float().permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def trained_tail(network: MobileNetV2, x: Tensor) -> tuple[Tensor, Tensor]:
    """Stems [n, h, w, 64] to the last map and the middle one, channels last."""
    middle = x
    for number, block in enumerate(network.blocks[CUT:], CUT):
        y = pointwise(depthwise(pointwise(x, block.expand), block.depthwise), block.project).float()
        x = x + y if block.residual else y
        if number == MIDDLE_END - 1:
            middle = x
    return pointwise(x, network.last).float(), middle


# ---- the start ------------------------------------------------------------------------------------------------

def tflite_convolutions(path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights [out, in/groups, h, w] and biases [out] of a TFLite graph's convolutions, in order, as floats."""
    with open(path, "rb") as file:
        model = tflite.Model.GetRootAsModel(file.read(), 0)
    graph = model.Subgraphs(0)

    def values(tensor, kind):
        return model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).reshape(tensor.ShapeAsNumpy())

    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            continue
        source, weight, bias = (graph.Tensors(i) for i in operator.InputsAsNumpy())
        scale = weight.Quantization().ScaleAsNumpy().astype(np.float64)
        zero = weight.Quantization().ZeroPointAsNumpy().astype(np.float64)
        quantised = values(weight, np.int8 if weight.Type() == tflite.TensorType.INT8 else np.uint8).astype(np.float64)
        if kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D:  # [1, h, w, c]: scales run along the last axis
            weights = ((quantised - zero) * scale).transpose(3, 0, 1, 2)
        else:  # [out, h, w, in]
            weights = ((quantised - zero.reshape(-1, 1, 1, 1)) * scale.reshape(-1, 1, 1, 1)).transpose(0, 3, 1, 2)
        biases = values(bias, np.int32) * scale * float(source.Quantization().Scale(0))
        found.append((weights.astype(np.float32), biases.astype(np.float32)))
    return found


def load(network: nn.Module, path) -> tuple[Tensor, Tensor] | None:
    """Fills `network` from the file; returns the classifier (weights [classes, features], bias) where it has one."""
    source = tflite_convolutions(path)
    targets = [module for module in network.modules() if isinstance(module, Conv)]
    with torch.no_grad():
        for target, (weight, bias) in zip(targets, source):
            assert target.weight.shape == weight.shape, (target.weight.shape, weight.shape)
            target.weight.copy_(torch.from_numpy(weight.copy()))
            target.bias.copy_(torch.from_numpy(bias.copy()))
    rest = source[len(targets):]
    if not rest:
        return None
    weight, bias = rest[0]
    return torch.from_numpy(weight[:, :, 0, 0].copy()), torch.from_numpy(bias.copy())
