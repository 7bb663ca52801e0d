"""How users call GPU models, and which ones they mean."""

from __future__ import annotations

import re

__all__ = ["is_meant"]


def is_meant(model: str, name: str) -> bool:
    """Whether a key of `gpu_model` means the GPUs of a name: every word of the one is in the other.

    So ``gpu_3090``, ``rtx-3090`` and ``nvidia-geforce-rtx-3090`` are the same GPU.

    Args:
        model: What a user calls it.
        name: What its driver, or whoever runs the cluster, calls it.
    """
    wanted = _words(model) - {"gpu"}
    return model == name or (bool(wanted) and wanted <= _words(name))


def _words(name: str) -> set[str]:
    return set(re.split(r"[-_\s]+", name.lower())) - {""}
