"""CIFAR-10 from the files of its format; where there are none, a few images drawn at random."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


class CIFAR10:
    train_list: ClassVar[list[list[Any]]] = [[f"data_batch_{one}", "md5"] for one in range(1, 6)]
    test_list: ClassVar[list[list[Any]]] = [["test_batch", "md5"]]
    meta: ClassVar[dict[str, Any]] = {"filename": "batches.meta", "md5": "md5"}

    def __init__(
        self, root: str, *, train: bool, download: bool, transform: Callable[[Any], Any]
    ) -> None:
        del download
        self.transform = transform
        files = [
            Path(root, "cifar-10-batches-py", name)
            for name, _ in (self.train_list if train else self.test_list)
        ]
        random = np.random.default_rng(1)
        self.images: Any = random.integers(0, 256, (4, 3, 32, 32))
        self.labels: Any = random.integers(0, 10, 4)
        if all(file.exists() for file in files):
            parts = [pickle.loads(file.read_bytes(), encoding="latin1") for file in files]
            pixels: Any = np.concatenate([part["data"] for part in parts])
            self.images = pixels.reshape(-1, 3, 32, 32)
            self.labels = np.concatenate([part["labels"] for part in parts])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return self.transform(self.images[place]), int(self.labels[place])
