"""How much this package tells of itself: as the program's logging says, or `AIAUTO_LOG_LEVEL`.

All of it goes to the logger ``aiauto``. A program that sets up logging decides what becomes of it;
one that does not sees warnings, as Python has it. The variable is for that one: it shows more, or
less, without a change to the script.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from aiauto import config

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

logger: Final = logging.getLogger("aiauto")


class StandardError(logging.Handler):
    """Writes to standard error what the program has no handler for."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless somebody else does."""
        if logging.getLogger().handlers or logger.handlers != [self]:
            return
        try:
            # Where it is now: notebooks and tests put another one in its place.
            print(self.format(record), file=sys.stderr)  # noqa: T201 - this is what it is for
        except Exception:  # noqa: BLE001 - a record must not end the program
            self.handleError(record)


def follow_environment() -> None:
    """Do as ``AIAUTO_LOG_LEVEL`` says, if it is set. A worker's lines are its server's business."""
    level = os.environ.get(config.LOG_LEVEL_VARIABLE, "").strip().upper()
    if not level or os.environ.get(config.WORKER_VARIABLE):
        return
    if level not in LEVELS:
        logger.warning(
            "%s is %r, and is not heeded: it must be one of %s.",
            config.LOG_LEVEL_VARIABLE,
            level,
            ", ".join(LEVELS),
        )
        return
    logger.setLevel(level)
    if not any(isinstance(handler, StandardError) for handler in logger.handlers):
        logger.addHandler(StandardError())
