"""Optimizers that change nothing."""

from typing import Any


class SGD:
    def __init__(self, params: list[Any], lr: float, momentum: float) -> None:
        self.settings = (params, lr, momentum)

    def zero_grad(self) -> None:
        """There are no gradients."""

    def step(self) -> None:
        """Nothing learns."""
