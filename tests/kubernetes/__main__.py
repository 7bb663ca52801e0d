"""A cluster to try things on: `python -m tests.kubernetes` starts it and prints its kubeconfig.

It has one node. The image `python:here` is the Python that runs this; more are named on the command
line: `python -m tests.kubernetes python:3.12=/opt/python3.12`.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.kubernetes import schemas
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.node.containers import why_not_here
from tests.kubernetes.node.images import Image


def named_images() -> dict[str, Image]:
    """The images that the command line names, and the Python that runs this."""
    images = {"python:here": Image(Path(sys.base_prefix))}
    for argument in sys.argv[1:]:
        name, _, prefix = argument.rpartition("=")
        if not name or not (Path(prefix) / "bin/python3").exists():
            sys.exit(f"{argument}: write an image as NAME=FOLDER, with FOLDER/bin/python3 in it.")
        images[name] = Image(Path(prefix))
    return images


def main() -> None:
    """Run until Ctrl-C."""
    images = named_images()
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
            cluster.add_node(images=images, backoff_seconds=10)
            print(f"Images: {', '.join(images)}", file=sys.stderr)
        print(cluster.kubeconfig, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
