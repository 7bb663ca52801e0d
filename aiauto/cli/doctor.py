"""`aiauto doctor`: the usual problems, and what to do."""

from __future__ import annotations

from dataclasses import asdict

import typer

from aiauto.cli.exits import FAILURE
from aiauto.cli.output import JsonOption, print_json

SIGNS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


def doctor(*, as_json: JsonOption = False) -> None:
    """Look for the usual problems, and say what to do. Starts nothing and changes nothing.

    JSON: [{"check", "state": "ok", "warning" or "problem", "found", "advice"}]. Exit codes: 0, or 1
    where there is a problem.
    """
    from aiauto.cli import checks  # noqa: PLC0415 - help needs none of it

    findings = list(checks.look())
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        for one in findings:
            print(f"{SIGNS[one.state]}  {one.check}: {one.found}")
            if one.advice:
                print(f"         {one.advice}")
    if any(one.state == "problem" for one in findings):
        raise typer.Exit(FAILURE)
