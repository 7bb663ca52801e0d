"""GPUs: those that a worker was given."""

import os


def is_available() -> bool:
    return bool(os.environ.get("CUDA_VISIBLE_DEVICES"))
