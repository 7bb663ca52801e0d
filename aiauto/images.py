"""Container images that workers on a cluster are known to run in.

Workers on this machine use the Python that runs the server, and no image.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class _Image:
    name: str
    python: tuple[int, int]
    gpu_framework: bool = False


_IMAGES = (
    _Image("ghcr.io/astral-sh/uv:python3.10-trixie-slim", (3, 10)),
    _Image("ghcr.io/astral-sh/uv:python3.11-trixie-slim", (3, 11)),
    _Image("ghcr.io/astral-sh/uv:python3.12-trixie-slim", (3, 12)),
    _Image("ghcr.io/astral-sh/uv:python3.13-trixie-slim", (3, 13)),
    _Image("ghcr.io/astral-sh/uv:python3.14-trixie-slim", (3, 14)),
    _Image("ghcr.io/astral-sh/uv:python3.15-trixie-slim", (3, 15)),
    _Image("pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime", (3, 10), gpu_framework=True),
    _Image("pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime", (3, 11), gpu_framework=True),
    _Image("tensorflow/tensorflow:2.15.0-gpu", (3, 11), gpu_framework=True),
)


def _running_python() -> tuple[int, int]:
    return sys.version_info[:2]


def _listed(python: tuple[int, int]) -> list[str]:
    # An objective is pickled and needs the same Python on the other side: the image that fits the
    # sender comes first, so that RUNTIME_IMAGES[0] always works.
    return [image.name for image in sorted(_IMAGES, key=lambda i: _rank(i, python))]


def _rank(image: _Image, python: tuple[int, int]) -> tuple[bool, bool]:
    return image.gpu_framework, image.python != python


RUNTIME_IMAGES: list[str] = _listed(_running_python())
"""Images for `StudyWrapper.optimize`: plain Python first, the one of your Python at the very top,
then PyTorch and TensorFlow for GPUs."""


def default_image(*, use_gpu: bool = False, python: tuple[int, int] | None = None) -> str:
    """Choose the image for an objective.

    An objective can only be loaded by the minor version of Python that pickled it, so this is what
    counts first; among the images of that version, one with a GPU framework is taken for GPUs.

    Args:
        use_gpu: Whether the workers have GPUs.
        python: Major and minor version of the sender's Python. Default: the running one.

    Returns:
        The name of the image; empty, which lets the server choose, where none is known for that
        Python.
    """
    python = python or _running_python()
    fitting = [image for image in _IMAGES if image.python == python]
    wanted = [image for image in fitting if image.gpu_framework == use_gpu]
    return next((image.name for image in wanted or fitting), "")
