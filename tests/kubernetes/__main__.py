"""A cluster to try things on: `python -m tests.kubernetes` starts it and prints its kubeconfig.

It has one node. The image `python:here` is the Python that runs this; more are named on the command
line: `python -m tests.kubernetes python:3.12=/opt/python3.12`. With `--control-plane` it is what
`make control-plane` built that runs it.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kubernetes import schemas
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.control_plane.cluster import RealCluster
from tests.kubernetes.control_plane.plane import control_plane
from tests.kubernetes.node.containers import why_not_here
from tests.kubernetes.node.images import Image, of_this_machine

if TYPE_CHECKING:
    from collections.abc import Generator


def image(argument: str) -> tuple[str, Image]:
    """An image that the command line names."""
    name, _, prefix = argument.rpartition("=")
    if not name or not (Path(prefix) / "bin/python3").exists():
        message = f"{argument}: write it as NAME=FOLDER, with FOLDER/bin/python3 in it"
        raise argparse.ArgumentTypeError(message)
    return name, of_this_machine(Path(prefix))


@contextlib.contextmanager
def double(folder: Path) -> Generator[Cluster]:
    """A cluster whose control plane is the one of these tests."""
    try:
        judging = schemas.load()
    except schemas.UnavailableError as error:
        print(f"Objects are not judged by the published schemas: {error}", file=sys.stderr)
        judging = None
    with Cluster(folder, schemas=judging, backoff_seconds=10) as cluster:
        yield cluster


@contextlib.contextmanager
def real(folder: Path) -> Generator[RealCluster]:
    """A cluster whose control plane is Kubernetes' own."""
    with control_plane() as plane, RealCluster(plane, folder) as cluster:
        yield cluster


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes", description=__doc__)
    parser.add_argument("--control-plane", action="store_true", help="Kubernetes' own")
    parser.add_argument("images", metavar="NAME=FOLDER", type=image, nargs="*")
    options = parser.parse_args()
    images = {"python:here": of_this_machine(Path(sys.base_prefix)), **dict(options.images)}
    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with (
        tempfile.TemporaryDirectory(prefix="aiauto-kubernetes-") as folder,
        (real if options.control_plane else double)(Path(folder) / "cluster") as cluster,
    ):
        if reason := why_not_here():
            print(f"There is no node: {reason}", file=sys.stderr)
        else:
            cluster.add_node(images=images, backoff_seconds=10)
            print(f"Images: {', '.join(images)}", file=sys.stderr)
        print(cluster.kubeconfig, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
