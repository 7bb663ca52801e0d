"""Writes a small image set in the format of CIFAR-10, for machines without a network.

::

    python examples/make_small_cifar10.py /tmp/small_cifar10
    EXAMPLE_CIFAR10=/tmp/small_cifar10 python examples/pytorch_cifar10.py

The files have the names and the form of the real ones, so that `torchvision.datasets.CIFAR10` reads
them; their checksums are others, of course, so it must be told not to compare them (the examples
do). Each class is a colour with noise on it: something to learn.
"""

import pickle
import random
import sys
from pathlib import Path

import numpy as np

FOLDER = "cifar-10-batches-py"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SIDE = 32


def make(root: Path, images_per_file: int = 20, seed: int = 0) -> Path:
    """Write the set: five files to train with, one to test with, and the names of the classes.

    Args:
        root: Folder that `torchvision.datasets.CIFAR10` is given as its root.
        images_per_file: How many images each of the six files holds.
        seed: Another one makes other images.

    Returns:
        The folder of the files.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    noise = random.Random(seed)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        labels = [number % len(CLASSES) for number in range(images_per_file)]
        pixels = np.array([_image(label, noise) for label in labels], dtype=np.uint8)
        _write(folder / name, {"data": pixels, "labels": labels})
    _write(folder / "batches.meta", {"label_names": CLASSES})
    return folder


def _image(label: int, noise: random.Random) -> list[int]:
    """The pixels of one image: all red ones, then the green and the blue ones."""
    colour = [(40 + 60 * label) % 200, (90 + 110 * label) % 200, (20 + 170 * label) % 200]
    return [one + noise.randrange(56) for one in colour for _ in range(SIDE * SIDE)]


def _write(path: Path, content: dict[str, object]) -> None:
    # As the real files: they say where arrays live in NumPy 1, which NumPy 2 understands as well.
    path.write_bytes(pickle.dumps(content, protocol=2).replace(b"numpy._core.", b"numpy.core."))


if __name__ == "__main__":
    print(make(Path(sys.argv[1] if len(sys.argv) > 1 else "/tmp/small_cifar10")))
