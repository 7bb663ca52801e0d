"""Only the part that loads data."""

from . import data

__all__ = ["data"]
