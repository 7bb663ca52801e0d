"""As much of PyTorch as the examples use, over numpy: its layers compute, and nothing learns."""

from . import cuda, nn, optim, utils
from .tensors import Tensor, device, flatten, randint, randn

__all__ = ["Tensor", "cuda", "device", "flatten", "nn", "optim", "randint", "randn", "utils"]
