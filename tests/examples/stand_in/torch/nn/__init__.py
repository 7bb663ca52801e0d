"""Layers, which count the operations that an image takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensors import Tensor  # noqa: TID252 - it is no part of this project where it runs
from . import functional

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Conv2d", "CrossEntropyLoss", "Linear", "MaxPool2d", "Module", "functional"]

RANDOM = np.random.default_rng(1)


class Module:
    operations = 0

    def __call__(self, *given: Any) -> Any:
        forward: Any = getattr(self, "forward")  # noqa: B009 - a user's class has it
        return forward(*given)

    def to(self, _where: object) -> Self:
        return self

    def train(self) -> None:
        """Nothing learns."""

    def parameters(self) -> list[Any]:
        return [layer for layer in vars(self).values() if isinstance(layer, Module)]


class Conv2d(Module):
    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        self.weight = RANDOM.normal(0, 0.1, (outputs, inputs, size, size))

    def forward(self, images: Tensor) -> Tensor:
        stride: Any = np.lib.stride_tricks
        windows = stride.sliding_window_view(images.data, self.weight.shape[2:], axis=(2, 3))
        self.operations = windows.shape[2] * windows.shape[3] * self.weight.size
        summed: Any = np.tensordot(windows, self.weight, ((1, 4, 5), (1, 2, 3)))
        return Tensor(summed.transpose(0, 3, 1, 2))


class MaxPool2d(Module):
    def __init__(self, size: int, step: int) -> None:
        assert size == step
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        count, channels, height, width = images.data.shape
        tiles = (count, channels, height // self.size, self.size, width // self.size, self.size)
        return Tensor(images.data.reshape(tiles).max((3, 5)))


class Linear(Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        self.weight = RANDOM.normal(0, 0.1, (inputs, outputs))

    def forward(self, rows: Tensor) -> Tensor:
        self.operations = self.weight.size
        return Tensor(rows.data @ self.weight)


class CrossEntropyLoss(Module):
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        odds = np.exp(outputs.data - outputs.data.max(1, keepdims=True))
        chances = odds / odds.sum(1, keepdims=True)
        return Tensor(-np.log(chances[np.arange(len(chances)), targets.data]).mean())
