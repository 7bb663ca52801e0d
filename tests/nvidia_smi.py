"""A stand-in for NVIDIA's program, for machines without a GPU.

It is copied to a folder on the server's PATH as ``nvidia-smi``, reads the GPUs from the file
``gpus`` beside it (a name a line), and speaks the command line of the real one.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    form = options["format"].split(",")
    if form[0] != "csv":
        print(f"Invalid format {form[0]}")
        return 2
    names = (Path(__file__).parent / "gpus").read_text(encoding="utf-8").splitlines()
    if names == ["broken"]:
        print("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
        return 9
    if not names:
        print("No devices were found")
        return 6
    fields = options["query-gpu"].split(",")
    if "noheader" not in form:
        print(", ".join(fields))
    for index, name in enumerate(names):
        values = {"index": str(index), "uuid": f"GPU-{index}fe5{index:04d}", "name": name}
        print(", ".join(values[field] for field in fields))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
