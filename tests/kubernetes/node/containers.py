"""Containers as processes of this machine, in namespaces of their own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from tests.kubernetes.api.registry import now

if TYPE_CHECKING:
    from tests.kubernetes.node.logs import Log
    from tests.kubernetes.node.volumes import Volume

_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_PROGRAMS: Final = ("setpriv", "unshare", "nsenter")
# Whoever started it may die without a word: what it started then dies, too.
_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_CHUNK: Final = 64 * 1024
# What the node keeps of a container's last words.
_MESSAGE_BYTES: Final = 4096
_FALLBACK_BYTES: Final = 2048
IMAGE_FOLDER: Final = "/opt/image"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@functools.cache
def why_not_here() -> str:
    """Why this machine can't run containers; "" where it can."""
    if sys.platform != "linux":
        return "containers need Linux"
    programs = {one: shutil.which(one) for one in _PROGRAMS}
    missing = [name for name, program in programs.items() if program is None]
    if missing:
        return f"containers need the programs {', '.join(missing)} (util-linux)"
    script = (
        "set -e; mount -t tmpfs none /mnt; mkdir /mnt/up /mnt/work /mnt/root; "
        "mount -t overlay none -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root; "
        "mount -t proc proc /mnt/root/proc"
    )
    done = subprocess.run(
        [str(programs["unshare"]), "--mount", "--pid", "--fork", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return f"containers need root, namespaces and overlay mounts: {done.stderr.strip()}"
    return ""


class Sandbox:
    """Holds the volumes of a Pod that are in memory, which all its containers see.

    Args:
        volumes: The Pod's volumes.
    """

    def __init__(self, volumes: dict[str, Volume]) -> None:
        self._volumes = [one for one in volumes.values() if one.tmpfs]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, parts: list[str]) -> None:
        """Mount them.

        Args:
            parts: Folders in them that containers ask for.
        """
        if not self._volumes:
            return
        script = "".join(
            f'mount -t tmpfs -o "{one.tmpfs}" none "{one.folder}" || exit; '
            for one in self._volumes
        )
        script += "".join(f'mkdir -p "{part}"; ' for part in parts)
        command = [
            *_WITH_PARENT,
            "unshare",
            "--mount",
            "sh",
            "-c",
            f"{script}echo; exec sleep infinity",
        ]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        await self._process.stdout.readline()

    def entered(self) -> list[str]:
        """What comes before a command that is to see them."""
        if self._process is None:
            return []
        return ["nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt"]

    async def close(self) -> None:
        """Forget them."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


def _read_all(descriptor: int) -> str:
    """What a launcher tells: nothing, when the program starts, or why it does not."""
    with os.fdopen(descriptor, encoding="utf-8") as told:
        return told.read()


@dataclass
class Container:
    """One container of a Pod: what it is to be, and how it is.

    Attributes:
        name: Its name.
        image: Its image's name.
        folder: Where its files are.
        log: What it prints.
        state: Its state, as a Pod's status has it.
        killed_for_memory: Whether memory ran out.
        ended: Set when it is known how it ended.
    """

    name: str
    image: str
    folder: Path
    log: Log
    state: dict[str, Any] = field(default_factory=dict[str, Any])
    killed_for_memory: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None
    _error: str = ""

    @property
    def id(self) -> str:
        """What the node calls it."""
        return f"double://{self.folder.parent.name}/{self.name}" if self._process else ""

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """How it ended; None where it did not."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    async def start(self, spec: dict[str, Any], sandbox: Sandbox) -> None:
        """Begin.

        Args:
            spec: What the launcher makes of it.
            sandbox: The Pod's.
        """
        (self.folder / "scratch").mkdir(exist_ok=True)
        written = self.folder / "spec.json"
        self.message_file.touch()
        self.message_file.chmod(0o666)
        spec["scratch"] = str(self.folder / "scratch")
        written.write_text(json.dumps(spec), encoding="utf-8")
        written.chmod(0o600)
        told, tells = os.pipe()
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(written), str(tells)]
        self._process = await asyncio.create_subprocess_exec(
            *_WITH_PARENT,
            *sandbox.entered(),
            *launcher,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": PATH},
            pass_fds=[tells],
        )
        os.close(tells)
        self._error = await asyncio.to_thread(_read_all, told)
        self.state = {"running": {"startedAt": now()}}
        self._reading = asyncio.create_task(self._read())

    @property
    def message_file(self) -> Path:
        """Where it leaves its last words."""
        return self.folder / "message"

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(_CHUNK):
            self.log.write(data)

    async def wait(self, *, fall_back: bool) -> None:
        """Wait until it has ended, and know how.

        Args:
            fall_back: Whether the end of its log is its last words where it left none.
        """
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        await self._reading
        self.log.close()
        start: str = self.state["running"]["startedAt"]
        code = 128 - code if code < 0 else code
        reason = "OOMKilled" if self.killed_for_memory else "Error" if code else "Completed"
        message = self.message_file.read_bytes()[:_MESSAGE_BYTES].decode(errors="replace")
        if not message and code and fall_back:
            message = self.log.tail(_FALLBACK_BYTES).decode(errors="replace")
        if self._error:
            reason = "StartError"
            message = (
                "failed to create containerd task: failed to create shim task: OCI runtime create "
                "failed: runc create failed: unable to start container process: error during "
                f"container init: {self._error}"
            )
        ended = {"exitCode": code, "reason": reason, "startedAt": start, "finishedAt": now()}
        ended.update({"message": message} if message else {})
        self.state = {"terminated": {**ended, "containerID": self.id}}
        self.ended.set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            for child in psutil.Process(self._process.pid).children():
                os.kill(child.pid, number)
                return

    async def kill(self) -> None:
        """End it, and all that it started, whatever it does."""
        if self._process is None:
            return
        self.signal(signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                # Its first process is killed with it, and all others with that one.
                self._process.kill()
        await self._process.wait()
        if self._reading is not None:
            await self._reading
