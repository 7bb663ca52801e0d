"""Fuzzing that is guided by what the code does with its inputs: `make fuzz`.

Atheris, from Google, changes inputs so that they reach code that none has reached before. Here it
feeds what reads the words of strangers, without a server around it. Whatever is read must be
written as something that is read the same; anything else must raise the one error that is meant for
it.

`python -m tests.fuzz.guided SECONDS` prints how many inputs it has tried in so many seconds each.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from typing import Any

# Has no types, and is there for this program only.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(
    include=[
        "aiauto.connect.binary_reader",
        "aiauto.connect.binary_values",
        "aiauto.connect.durations",
        "aiauto.connect.json_format",
        "aiauto.connect.json_values",
        "aiauto.connect.protocol",
        "aiauto.server.journal.entries",
    ]
):
    from aiauto_gen.aiauto import v1

    from aiauto.connect import protocol
    from aiauto.connect.codec import CODECS
    from aiauto.connect.metadata import Metadata
    from aiauto.errors import InvalidArgumentError
    from aiauto.server.journal import entries

MESSAGES = (
    v1.OptimizeRequest,
    v1.CreateStudyRequest,
    v1.AppendEntriesRequest,
    v1.StreamLogsResponse,
    v1.GetStatusResponse,
)


def binary(data: bytes) -> None:
    """Messages in binary."""
    _read("proto", data)


def json_text(data: bytes) -> None:
    """Messages as JSON."""
    _read("json", data)


def _read(codec: str, data: bytes) -> None:
    if not data:
        return
    message_type: Any = MESSAGES[data[0] % len(MESSAGES)]
    try:
        message = CODECS[codec].decode(message_type, data[1:])
    except ValueError:
        return
    written = CODECS[codec].encode(message)
    # Compared as bytes: what is no number is not equal to itself.
    assert CODECS[codec].encode(CODECS[codec].decode(message_type, written)) == written


def journal_entries(data: bytes) -> None:
    """Entries of a journal."""
    try:
        entry = entries.check(data.decode("utf-8", "replace"))
    except InvalidArgumentError:
        return
    json.dumps(entry)


def errors(data: bytes) -> None:
    """Errors, as a client reads them."""
    found = protocol.error_from_json(data, 500, Metadata())
    assert found is None or str(found) is not None


TARGETS = {one.__name__: one for one in (binary, json_text, journal_entries, errors)}


def fuzz(name: str, seconds: int) -> None:
    """Feed one of them. Ends the process."""
    arguments = [sys.argv[0], f"-max_total_time={seconds}", "-print_final_stats=1"]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    """Feed all of them, each in a process of its own: the first fault ends it."""
    if len(sys.argv) > 2:
        fuzz(sys.argv[2], int(sys.argv[1]))
    failed = False
    for name in TARGETS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", sys.argv[1], name],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        tried = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
        print(f"{name}: {tried[1] if tried else 'no'} inputs tried", flush=True)
        if done.returncode or tried is None:
            failed = True
            print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
