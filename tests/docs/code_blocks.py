"""Runs the code blocks of a page, one after the other, as a reader would.

It is its own program, so that what a page defines is in ``__main__`` as in a script::

    PYTHONPATH=tests/docs python -c "from code_blocks import main; main()" docs/tutorial.md

Blocks of a page share their names and the folder that they run in. What a ``text`` block shows was
printed by the block above it; ``…`` there stands for anything. ``--8<--`` includes a file, as it
does on the site. A block that is ``aiauto serve`` is another terminal: it runs until the next one,
or the end. A block after ``<!-- skip: next "why" -->`` is not run, but has to be code.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

import typer
from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from aiauto.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from sybil.example import Example

ROOT = Path(__file__).parents[2]
INCLUDED = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
ANYTHING = "…"
SHELL = ("/bin/bash", "-euo", "pipefail")


@dataclass
class Seen:
    """What became of a block."""

    line: int
    kind: str
    skipped: str = ""


class Page:
    """The blocks of a page, and what the last of them printed."""

    def __init__(self, path: Path) -> None:
        self.printed = ""
        self.server: subprocess.Popen[str] | None = None
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
                yield Seen(block.line, kind, str(reason))
            else:
                yield Seen(block.line, kind)

    def python(self, block: Example) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compiled(block), block.namespace)  # noqa: S102 - that is what the page is for
        self.printed = printed.getvalue()

    def bash(self, block: Example) -> None:
        command = [*SHELL, "-c", block.parsed]
        if block.parsed.startswith("aiauto serve"):
            self.serve(command)
            return
        self.printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def serve(self, command: list[str]) -> None:
        """Start a server, and end the one before."""
        self.close()
        command[-1] = f"exec {command[-1]}"
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout is not None
        lines = list(itertools.takewhile(lambda line: "Data:" not in line, self.server.stdout))
        self.printed = "".join(lines)

    def close(self) -> None:
        """End the server that the page has started."""
        if self.server is not None:
            self.server.terminate()
            self.server.communicate(timeout=30)

    def text(self, block: Example) -> None:
        shown = [re.escape(part) for part in block.parsed.strip().split(ANYTHING)]
        printed = self.printed.strip()
        if not re.fullmatch(".*".join(shown), printed, re.DOTALL):
            raise AssertionError(f"shown:\n{block.parsed}\nprinted:\n{printed}")


def compiled(block: Example) -> CodeType:
    """The code of a block. Its lines have their numbers in the page."""
    # A method may stand alone.
    source = INCLUDED.sub(
        lambda found: (ROOT / found[1]).read_text(encoding="utf-8"), textwrap.dedent(block.parsed)
    )
    first = block.line + block.parsed.line_offset
    return compile("\n" * first + source, block.path, "exec", dont_inherit=True)


def check(kind: str, block: Example) -> None:
    """See that a block that is not run is code."""
    if kind == "python":
        compiled(block)
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
            print(seen.line, seen.kind, seen.skipped, sep="\t", flush=True)
