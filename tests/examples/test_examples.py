"""The scripts in examples/ run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_quick_start(embedded_environment: dict[str, str]) -> None:
    done = run("quickstart.py", embedded_environment)
    bars = done.stderr.split("\r")
    assert re.search(
        r"simple_optimization: 100%\|█+\| 100/100 \[\d\d:\d\d, best=\S+, running=0, failed=0\]",
        bars[-1],
    ), bars[-1]
    assert "Best of 100 trials: number " in done.stdout
    assert re.search(r"value  \S+\n  params \{'x': \S+, 'y': \S+\}", done.stdout)
    assert re.search(r"Dashboard: http://127\.0\.0\.1:\d+/dashboard\S*", done.stdout)
    # Once more: the study is opened again and a batch is added.
    assert "Best of 200 trials" in run("quickstart.py", embedded_environment).stdout


def test_ask_and_tell(embedded_environment: dict[str, str]) -> None:
    done = run("ask_tell.py", embedded_environment)
    assert "Best of 10 trials: " in done.stdout
    assert done.stderr == ""
