"""A cluster to try things on: `python -m tests.kubernetes` starts it and prints its kubeconfig.

It has one node, whose images are the Pythons of this machine: `python:3.10`, `python:3.11`, and so
on, each as far as it is found on the PATH, and `python:here`, the one that runs this.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.kubernetes import schemas
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.node.containers import why_not_here
from tests.kubernetes.node.images import Image

_VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def found_images() -> dict[str, Image]:
    """The Pythons of this machine."""
    images = {"python:here": Image(Path(sys.base_prefix))}
    for version in _VERSIONS:
        program = shutil.which(f"python{version}")
        if program is None:
            continue
        command = [program, "-c", "import sys; print(sys.base_prefix)"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            images[f"python:{version}"] = Image(Path(done.stdout.strip()))
    return images


def main() -> None:
    """Run until Ctrl-C."""
    try:
        judging = schemas.load()
    except schemas.UnavailableError as error:
        print(f"Objects are not judged by the published schemas: {error}", file=sys.stderr)
        judging = None
    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with (
        tempfile.TemporaryDirectory(prefix="aiauto-kubernetes-") as folder,
        Cluster(Path(folder) / "cluster", schemas=judging, backoff_seconds=10) as cluster,
    ):
        if reason := why_not_here():
            print(f"There is no node: {reason}", file=sys.stderr)
        else:
            images = found_images()
            cluster.add_node(images=images, backoff_seconds=10)
            print(f"Images: {', '.join(images)}", file=sys.stderr)
        print(cluster.kubeconfig, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
