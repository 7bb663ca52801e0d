"""Fuzzing that is guided by what the code does with its inputs: `make fuzz`.

Atheris, from Google, changes inputs so that they reach code that none has reached before. Here it
feeds what reads the words of strangers, without a server around it. Whatever is read must be
written as something that is read the same; anything else must raise the one error that is meant for
it.

`python -m tests.fuzz.guided SECONDS` prints how many inputs it has tried in so many seconds each.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
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
        "aiauto.samplers",
        "aiauto.server.backup",
        "aiauto.server.files.paths",
        "aiauto.server.journal.entries",
        "aiauto.server.services.study",
    ]
):
    import optuna
    from aiauto_gen.aiauto import v1

    from aiauto import samplers
    from aiauto.connect import protocol
    from aiauto.connect.codec import CODECS
    from aiauto.connect.metadata import Metadata
    from aiauto.errors import ArgumentValueError, InvalidArgumentError
    from aiauto.server import backup
    from aiauto.server.files import paths
    from aiauto.server.journal import entries
    from aiauto.server.services import study

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


# But for the one that makes a table of all that it will ever try: that is its user's to pay for.
CLASSES = sorted({*optuna.samplers.__all__, *optuna.pruners.__all__} - {"GridSampler"})


def sampler_specs(data: bytes) -> None:
    """Samplers and pruners, as programs load them. What is pickled is Python's to load."""
    if not data or b"pickled" in data:
        return
    kwargs = data[1:].decode("utf-8", "replace")
    text = f'{{"cls": "{CLASSES[data[0] % len(CLASSES)]}", "kwargs": {kwargs or "{}"}}}'
    for load in (samplers.load_sampler, samplers.load_pruner):
        try:
            assert load(text) is not None
        except ArgumentValueError:
            continue


KINDS = (tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, b"Z")


def archives(data: bytes) -> None:
    """Backups, made of members that the input describes."""
    given = atheris.FuzzedDataProvider(data)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", errors="surrogateescape") as archive:
        for _ in range(given.ConsumeIntInRange(0, 4)):
            named = given.PickValueInList([backup.RECORD, backup.DATABASE, "files/", "token", ""])
            member = tarfile.TarInfo(named + given.ConsumeUnicodeNoSurrogates(20))
            member.type = given.PickValueInList(list(KINDS))
            member.linkname = given.ConsumeUnicodeNoSurrogates(20)
            member.mtime, member.mode = given.ConsumeInt(8), abs(given.ConsumeInt(2))
            content = given.ConsumeBytes(60)
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    with tempfile.TemporaryDirectory() as name:
        source, folder = Path(name, "archive.tar"), Path(name, "folder")
        source.write_bytes(file.getvalue() + given.ConsumeBytes(100))
        folder.mkdir()
        with contextlib.suppress(backup.BackupError):
            backup._unpack(source, folder)
        assert {one.name for one in Path(name).iterdir()} == {"archive.tar", "folder"}
        assert not any(one.is_symlink() for one in folder.rglob("*"))


def names(data: bytes) -> None:
    """Names of files and studies: those that are taken lead nowhere else."""
    text = data.decode("utf-8", "surrogateescape" if data[:1] == b"s" else "replace")
    with contextlib.suppress(InvalidArgumentError):
        parts = paths.split(text)
        assert os.path.normpath(f"/root/{text}") == "/root/" + "/".join(parts)
    spec = v1.StudySpec(study_name=text, direction="minimize")
    with contextlib.suppress(InvalidArgumentError):
        study._checked(spec)
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", text)
        assert text not in {".", ".."}


TARGETS = {
    one.__name__: one
    for one in (binary, json_text, journal_entries, errors, sampler_specs, archives, names)
}


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
