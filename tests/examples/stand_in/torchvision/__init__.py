"""As much of torchvision as the examples use."""

from . import datasets, transforms

__all__ = ["datasets", "transforms"]
