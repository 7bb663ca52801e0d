"""Runs the official conformance suite of the Connect protocol against the runtime.

Needs Go, with which the suite is built. Prints the suite's own counts; exits with 1 where a case
fails. There is no list of cases that may.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

MODULE: Final = "connectrpc.com/conformance"
VERSION: Final = "v1.0.5"

HERE: Final = Path(__file__).parent
WORK: Final = HERE.parents[1] / ".conformance"
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(WORK), "MYPYPATH": f"{WORK}:{HERE}"}
COUNTS: Final = re.compile(r"(\d+) passed.*?(\d+) failed", re.DOTALL)

PROGRAMS: Final = {
    "server": ("server", HERE / "server.py"),
    "asynchronous client": ("client", HERE / "client.py"),
    "blocking client": ("client", HERE / "client_sync.py"),
}


def install() -> tuple[Path, Path]:
    """Builds the suite, unless it is there, and finds its schema: both are of one Go module."""
    go = shutil.which("go")
    if go is None:
        sys.exit("Go is needed to build the conformance suite, and is not on the PATH.")
    program = WORK / f"connectconformance-{VERSION}"
    if not program.exists():
        target = f"{MODULE}/cmd/connectconformance@{VERSION}"
        subprocess.run([go, "install", target], env={**os.environ, "GOBIN": str(WORK)}, check=True)
        (WORK / "connectconformance").rename(program)
    command = [go, "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return program, Path(json.loads(found.stdout)["Dir"]) / "proto"


def generate(schema: Path) -> None:
    """Puts the suite's schema through buf and the plugins."""
    # buf reads Go's cache as a part of whatever workspace it finds around it: a copy has none.
    copied = WORK / "proto"
    shutil.rmtree(copied, ignore_errors=True)
    for source in schema.rglob("*.proto"):
        target = copied / source.relative_to(schema)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    command = ["buf", "generate", copied, "--template", HERE / "buf.gen.yaml", "--output", WORK]
    subprocess.run([str(part) for part in command], stderr=subprocess.DEVNULL, check=True)


def check_types() -> None:
    """Checks the programs, and with them what was generated of a schema that is not ours."""
    generated = WORK / "conformance_gen/connectrpc/conformance/v1/connect.py"
    files = [generated, *sorted(HERE.glob("*.py"))]
    config = HERE / "mypy.ini"
    command = [sys.executable, "-m", "mypy", "--config-file", config, *files]
    subprocess.run([str(part) for part in command], env=ENVIRONMENT, check=True)


def judge(suite: Path, mode: str, program: Path) -> tuple[int, int]:
    """Runs the suite in a mode, and gives the numbers of cases that passed and that failed."""
    # By default four servers start at once, and on a slow machine none of them in time.
    options = ["--conf", HERE / "config.yaml", "--mode", mode, "--max-servers", "2"]
    command = [suite, *options, "--", sys.executable, program]
    done = subprocess.run(
        [str(part) for part in command],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    counts = COUNTS.search(done.stdout)
    passed, failed = (int(one) for one in counts.groups()) if counts else (0, 0)
    if done.returncode != 0 or not passed:
        sys.stdout.write(done.stdout)
        failed = max(failed, 1)
    return passed, failed


def main() -> None:
    WORK.mkdir(exist_ok=True)
    suite, schema = install()
    generate(schema)
    check_types()
    total = [0, 0]
    for name, (mode, program) in PROGRAMS.items():
        start = time.monotonic()
        counts = passed, failed = judge(suite, mode, program)
        seconds = f"{time.monotonic() - start:.0f} s"
        print(f"Connect conformance {VERSION}, {name}: {passed} of {passed + failed}, {seconds}")
        total = [have + more for have, more in zip(total, counts, strict=True)]
    print(f"{total[0]} passed, {total[1]} failed")
    sys.exit(1 if total[1] else 0)


if __name__ == "__main__":
    main()
