"""Images in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensors import Tensor  # noqa: TID252 - it is no part of this project where it runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class DataLoader:
    def __init__(self, dataset: Any, batch_size: int, *, shuffle: bool, num_workers: int) -> None:
        del num_workers
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = list(range(len(self.dataset)))
        if self.shuffle:
            np.random.default_rng().shuffle(order)
        for start in range(0, len(order), self.batch_size):
            pairs = [self.dataset[place] for place in order[start : start + self.batch_size]]
            images, labels = zip(*pairs, strict=True)
            yield Tensor(np.stack(images)), Tensor(labels)


class Subset:
    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices


def random_split(dataset: Any, lengths: Sequence[int]) -> list[Subset]:
    order = np.random.default_rng().permutation(len(dataset)).tolist()
    return [Subset(dataset, [order.pop() for _ in range(length)]) for length in lengths]
