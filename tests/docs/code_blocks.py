"""Runs the code blocks of a page, one after the other, as a reader would.

It is its own program, so that what a page defines is in ``__main__`` as in a script::

    PYTHONPATH=tests/docs python -c "from code_blocks import main; main()" docs/tutorial.md

Blocks of a page share their names and the folder that they run in. What a ``text`` block shows was
printed by the block above it; ``…`` there stands for anything. ``--8<--`` includes a file, as it
does on the site. A block that ends with `aiauto serve` is another terminal: it runs until the next
one, or the end. A block after ``<!-- skip: next "why" -->`` is not run, but has to be code.

A page speaks of what a reader has and a test has not. For the page's server stand the addresses in
`SERVER`, and `TOKEN` for its token, which is also what is typed where a command asks. The variable
`ELSEWHERE` holds, as JSON, what stands for other things; where it is null, a block that names the
thing is not run. Programs of `stand_ins.py` note in the file that `USED` names that they were used.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

import typer
from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from aiauto.cli import app
from aiauto.testing import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from sybil.example import Example

ROOT = Path(__file__).parents[2]
INCLUDED = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
SERVES = re.compile(r"^(?=aiauto serve\b.*\Z)", re.MULTILINE)
ANYTHING = "…"
SERVER = ("https://aiauto.example.org", "http://127.0.0.1:8787")
TOKEN = "<token>"
ELSEWHERE, USED = "DOCS_ELSEWHERE", "DOCS_STAND_INS_USED"
SHELL = ("/bin/bash", "-euo", "pipefail")


@dataclass
class Seen:
    """What became of a block."""

    line: int
    kind: str
    skipped: str = ""
    stand_ins: str = ""


class Page:
    """The blocks of a page, and what the last of them printed."""

    def __init__(self, path: Path) -> None:
        self.printed = ""
        self.server: subprocess.Popen[str] | None = None
        self.machine = EmbeddedServer(Path(os.environ["AIAUTO_DATA_DIR"]))
        self.elsewhere: dict[str, str | None] = json.loads(os.environ.get(ELSEWHERE, "{}"))
        kinds = {"python": self.python, "bash": self.bash, "text": self.text}
        self.kinds: dict[object, str] = {evaluate: kind for kind, evaluate in kinds.items()}
        parsers = [CodeBlockParser(kind, evaluate) for kind, evaluate in kinds.items()]
        self.document = Document.parse(str(path), *parsers, SkipParser())
        # Not those of this module: what a block defines is the script's.
        self.document.namespace = vars(sys.modules["__main__"])

    def run(self) -> Iterator[Seen]:
        """Run the blocks, and tell of each."""
        for block in self.document.examples():
            kind = self.kinds.get(block.region.evaluator)
            if kind is None:  # it tells how to treat the next one
                block.evaluate()
                continue
            try:
                block.evaluate()
            except SkipTest as reason:
                check(kind, block)
                yield Seen(block.line, kind, skipped=str(reason))
            else:
                yield Seen(block.line, kind, stand_ins=stand_ins_used())

    def python(self, block: Example) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = compiled(block, self.here(block.parsed))
            exec(code, block.namespace)  # noqa: S102 - that is what the page is for
        self.printed = printed.getvalue()

    def bash(self, block: Example) -> None:
        if SERVES.search(block.parsed.strip()):
            self.serve(block)
            return
        typed = self.machine.token if self.machine.is_running() else ""
        with tempfile.NamedTemporaryFile("r") as where:
            # Where a block has gone, those after it are.
            text = f"trap 'pwd > {where.name}' EXIT\n{self.here(block.parsed)}"
            self.printed = subprocess.run(
                [*SHELL, "-c", text],
                input=typed,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
            os.chdir(where.read().rstrip("\n"))

    def serve(self, block: Example) -> None:
        """Start a server, and end the one before."""
        self.close()
        self.machine.stop()
        text = self.elsewhere_in(block.parsed.strip())
        command = [*SHELL, "-c", SERVES.sub("exec ", text)]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout is not None
        lines = list(itertools.takewhile(lambda line: "Data:" not in line, self.server.stdout))
        self.printed = "".join(lines)
        assert self.server.poll() is None, f"{block.parsed} ended"

    def close(self) -> None:
        """End the server that the page has started."""
        if self.server is not None:
            self.server.terminate()
            self.server.communicate(timeout=30)

    def text(self, block: Example) -> None:
        told = self.here(block.parsed).strip()
        shown = [re.escape(part) for part in told.split(ANYTHING)]
        printed = self.printed.strip()
        if not re.fullmatch(".*".join(shown), printed, re.DOTALL):
            raise AssertionError(f"shown:\n{block.parsed}\nprinted:\n{printed}")

    def here(self, text: str) -> str:
        """What a block says, with what is on this machine in place of what a reader has."""
        text = self.elsewhere_in(text)
        for name in (*SERVER, TOKEN):
            if name in text:
                text = text.replace(name, self.machine.token if name == TOKEN else self.machine.url)
        return text

    def elsewhere_in(self, text: str) -> str:
        for name, here in self.elsewhere.items():
            if name in text:
                if here is None:
                    raise SkipTest(f"there is no {name}")
                text = text.replace(name, here)
        return text


def stand_ins_used() -> str:
    """The stand-ins that the last block has used."""
    used = Path(os.environ[USED]) if USED in os.environ else None
    if used is None or not used.exists():
        return ""
    names = sorted(set(used.read_text(encoding="utf-8").split()))
    used.unlink()
    return ", ".join(names)


def compiled(block: Example, text: str) -> CodeType:
    """The code of a block. Its lines have their numbers in the page."""
    # A method may stand alone.
    source = INCLUDED.sub(
        lambda found: (ROOT / found[1]).read_text(encoding="utf-8"), textwrap.dedent(text)
    )
    first = block.line + block.parsed.line_offset
    return compile("\n" * first + source, block.path, "exec", dont_inherit=True)


def check(kind: str, block: Example) -> None:
    """See that a block that is not run is code."""
    if kind == "python":
        compiled(block, block.parsed)
    if kind == "bash":
        subprocess.run([*SHELL, "-n", "-c", block.parsed], check=True)
        for line in block.parsed.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "aiauto" in words[:1]:
                check_command(words[1:])


def check_command(words: list[str]) -> None:
    """See that the `aiauto` command takes these words. Nothing is done with them."""
    command: Any = typer.main.get_command(app)
    context: Any = command.make_context("aiauto", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


def main() -> None:
    """Run the page that the command line names, and tell of each block in a line."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with contextlib.closing(Page(Path(sys.argv[1]).resolve())) as page:
        for seen in page.run():
            print(seen.line, seen.kind, seen.skipped, seen.stand_ins, sep="\t", flush=True)
