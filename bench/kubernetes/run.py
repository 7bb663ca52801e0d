"""Measures what batches cost a cluster: `python bench/kubernetes/run.py`. See `bench/README.md`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a script, Python looks for modules beside it only.
    sys.path.insert(0, str(Path(__file__).parents[2]))

    from bench.kubernetes.cli import main

    sys.exit(main())
