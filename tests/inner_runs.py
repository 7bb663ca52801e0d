"""Runs of pytest inside a test, by the project's own configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, and wait for its end.

    Args:
        arguments: What to run, and how.
        environment: Variables besides those that are there.
    """
    variables = {**os.environ, **environment}
    # What is asked of the run outside would change what this one prints.
    variables.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0",
         "--config-file", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
