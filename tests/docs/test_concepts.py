"""What the concepts, the journal and the environment tell in numbers and reasons is so."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiauto import config, objective
from aiauto.runner import journal as runner_journal
from aiauto.runner import worker
from aiauto.server import __main__ as embedded_program
from aiauto.server.batches.leases import Reason
from aiauto.server.batches.stopping import StopReason
from aiauto.server.journal import entries, journal
from aiauto.server.settings import MAX_ENTRIES_PER_APPEND, MEBIBYTE, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS = Settings(data_dir=Path("unused"))
LEASE_SECONDS = SETTINGS.lease_ttl + SETTINGS.lease_grace
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def words(page: str) -> str:
    """The text of a page in one line."""
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


def cells(page: str, heading: str) -> list[str]:
    """The first cells of the table under a heading of its first column."""
    _, _, table = (DOCS / page).read_text(encoding="utf-8").partition(f"| {heading} |")
    return re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE)


def spelt(seconds: float) -> str:
    return NUMBERS[int(seconds)]


def test_why_batches_and_trials_ended() -> None:
    for heading, reasons in (("`stop_reason`", StopReason), ("`reason`", Reason)):
        known: Iterable[StopReason | Reason] = reasons
        assert sorted(cells("concepts.md", heading)) == sorted(one.value for one in known)


def test_numbers_of_the_concepts() -> None:
    text = words("concepts.md")
    assert config.WATCH_PATIENCE == worker.PATIENCE_SECONDS == 600
    for told in (
        f"A worker says every {spelt(SETTINGS.heartbeat_interval)} seconds that it lives",
        f"it is waited for {LEASE_SECONDS:g} seconds",
        f"sent again: {config.CALL_PATIENCE:g} seconds, and {config.WATCH_PATIENCE / 60:g} minutes",
        f"that do not end in {SETTINGS.drain_timeout:g} seconds run again",
        f"workers wait for it for {worker.PATIENCE_SECONDS / 60:g} minutes",
        f"at most {runner_journal.FRESH_SECONDS * 1000:g} ms late",
        f"at most {runner_journal.PATIENCE_SECONDS:g} s late",
        f"nobody has used it for {spelt(embedded_program.IDLE_SECONDS / 60)} minutes",
    ):
        assert told in text, told


def test_numbers_of_the_journal() -> None:
    text = words("journal.md")
    for told in (
        f"at most {runner_journal.FRESH_SECONDS * 1000:g} ms old",
        f"after {runner_journal.PATIENCE_SECONDS:g} s by themselves",
        f"| an entry | {entries.MAX_ENTRY_BYTES // MEBIBYTE} MiB of text",
        f"nested {entries.MAX_DEPTH} deep",
        f"| {MAX_ENTRIES_PER_APPEND:,}; the storage sends",
        f"cut after {journal.MAX_ANSWER_CHARACTERS // MEBIBYTE} MiB of text",
        f"{SETTINGS.journal_rate:,.0f} a second, and {SETTINGS.journal_burst:,} at once",
        f"sends a heartbeat every {SETTINGS.heartbeat_interval:g} s",
        f"falls silent** for {SETTINGS.lease_ttl:g} s (`lease_ttl`)",
        f"stays silent** for {SETTINGS.lease_grace:g} s more (`lease_grace`)",
        f"no longer than these {LEASE_SECONDS:g} s",
    ):
        assert told in text, told


def test_how_old_the_trials_of_the_dashboard_are() -> None:
    """Optuna's dashboard says so nowhere but in its code."""
    code = inspect.getsource(importlib.import_module("optuna_dashboard._storage").get_trials)
    found = re.findall(r"len\(trials\) < (\d+):\s+ttl_seconds = (\d+)", code)
    (longest,) = re.findall(r"else:\s+ttl_seconds = (\d+)", code)
    (below, shortest), (then, middle) = found
    assert f"up to {longest} s late; {shortest} s below {below} trials" in words("concepts.md")
    told = f"up to {longest} s old ({shortest} s below {below} trials, {middle} s below {then})"
    assert told in words("journal.md")


def test_numbers_of_the_environment() -> None:
    seconds = ("lease_ttl", "lease_grace", "heartbeat_interval", "drain_timeout")
    ttl, grace, beat, drain = (f"{getattr(SETTINGS, name):g}" for name in seconds)
    idle = f"{embedded_program.IDLE_SECONDS:g}"
    told = {
        "reference/environment.md": (
            f"is suspected ({ttl}), and then given up ({grace})",
            f"of a worker ({beat})",
            f"is stopped ({drain})",
            f"machine stops; default {idle}",
        ),
        "../README.md": (
            f"suspected to be dead (default {ttl}), when it is given up after that ({grace})",
            f"tell that they live ({beat})",
            f"SIGTERM; default {drain})",
            f"server stops (default {idle})",
            f"and workers for {config.WATCH_PATIENCE / 60:g} minutes",
            f"every other call for {config.CALL_PATIENCE:g} seconds",
        ),
    }
    for page, numbers in told.items():
        for one in numbers:
            assert one in words(page), one


def test_how_much_travels() -> None:
    mebibytes = objective.MAX_PICKLED_BYTES // MEBIBYTE
    assert f"More than {mebibytes} MiB are refused" in words("how-to/shared-data.md")
