"""Tensors: arrays that go wherever they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self


class Tensor:
    def __init__(self, data: Any) -> None:
        self.data: Any = np.asarray(data)

    def to(self, _where: object) -> Self:
        return self

    def item(self) -> float:
        return float(self.data)

    def backward(self) -> None:
        """Nothing learns."""


def device(name: str) -> str:
    return name


def flatten(tensor: Tensor, start: int) -> Tensor:
    return Tensor(tensor.data.reshape(*tensor.data.shape[:start], -1))


def randint(low: int, high: int, size: tuple[int, ...]) -> Tensor:
    return Tensor(np.random.default_rng().integers(low, high, size))


def randn(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng().normal(size=shape))
