"""How a worker's process has ended, in words for its user."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from aiauto.server.batches.workers import OUT_OF_MEMORY
from aiauto.server.executors.last_words import last_words


@dataclass(frozen=True)
class End:
    """How a worker's process has ended.

    Attributes:
        exit_code: Its exit code, negative for a signal; None where that is not known.
        out_of_memory: Whether the kernel killed it because memory had run out.
        memory_limit: How many bytes it was allowed to use; None for no limit.
    """

    exit_code: int | None
    out_of_memory: bool = False
    memory_limit: int | None = None

    @property
    def at_its_limit(self) -> bool:
        """Whether it was killed for what its batch allows, however much others leave it."""
        return self.out_of_memory and self.memory_limit is not None

    @property
    def reason(self) -> str:
        """Why, in one CamelCase word."""
        if self.out_of_memory:
            return OUT_OF_MEMORY
        if self.exit_code is None:
            return "Ended"
        if self.exit_code == 0:
            return "Completed"
        return "Error" if self.exit_code > 0 else "Killed"

    @property
    def sentence(self) -> str:
        """The same for people, with what to do about it."""
        if self.out_of_memory:
            return _of_memory(self.memory_limit)
        code = self.exit_code
        if code is None:
            return "The worker ended; how is not known, since whoever had started it was gone."
        if code == 0:
            return (
                "The worker ended by itself, with exit code 0, before its work was done: something "
                "that the objective calls ends the process, as `os._exit` does."
            )
        if code > 0:
            return f"The worker ended with exit code {code}."
        if -code == signal.SIGKILL:
            return (
                "The worker was killed (SIGKILL). If nobody did that by hand, the machine may have "
                "run out of memory: use less memory a trial, or a lower parallelism."
            )
        return f"The worker was killed by {_signal_name(-code)}."


def with_output(sentence: str, printed: str) -> str:
    """How a worker has ended, and what of the last that it printed tells of it, if anything."""
    told = last_words(printed)
    return f"{sentence}\n\nThe end of its output:\n\n{told}" if told else sentence


def _of_memory(limit: int | None) -> str:
    if limit is None:
        return (
            "The machine was out of memory, and the system killed the worker: use less memory a "
            "trial, or a lower parallelism."
        )
    return (
        "The worker was out of memory, and the system killed it: resources_limits allows it "
        f"{limit / 2**20:.0f} MiB. Use less memory a trial, or raise resources_limits['memory']."
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
