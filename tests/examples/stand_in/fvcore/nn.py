"""Counts operations."""

from __future__ import annotations

from typing import Any


class FlopCountAnalysis:
    def __init__(self, model: Any, inputs: tuple[Any, ...]) -> None:
        self.model = model
        self.inputs = inputs

    def total(self) -> int:
        self.model(*self.inputs)
        return sum(layer.operations for layer in self.model.parameters())
