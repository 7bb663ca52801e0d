"""A worker as a process of this machine: started, found again, watched and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from aiauto.server.data_dir import write_private
from aiauto.server.executors.children import Start, base_environment, kill_session
from aiauto.server.executors.ends import End
from aiauto.server.executors.gpus import environment as gpu_environment
from aiauto.server.executors.memory import Group, WorkerMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto.server.executors.children import Child, Starter
    from aiauto.server.executors.gpus import Gpu
    from aiauto.server.executors.memory import Memory

# The names of its extension modules alone, which follow where a worker crashed, may be 10 KiB.
TAIL_BYTES = 64 * 1024
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class WorkerFiles:
    """Where a worker runs and what it leaves.

    Attributes:
        folder: Its working folder.
    """

    folder: Path

    @property
    def log(self) -> Path:
        """What it printed outside of trials."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def record(self) -> Path:
        """Which process it is, for a server that comes after this one."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def shared_cache(self) -> Path:
        """Leads to the shared cache of its workspace."""
        return self.folder / "shared-cache"

    @property
    def tmp_cache(self) -> Path:
        """Its own scratch folder, which goes with it."""
        return self.folder / "tmp-cache"

    @property
    def artifact_tmp(self) -> Path:
        """Where it prepares artifacts; goes with it too."""
        return self.folder / "artifact-tmp"

    def make(self, shared_cache: Path) -> None:
        """Make the folders.

        Args:
            shared_cache: The shared cache of its workspace.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.tmp_cache.mkdir(exist_ok=True)
        self.artifact_tmp.mkdir(exist_ok=True)
        self.shared_cache.unlink(missing_ok=True)
        self.shared_cache.symlink_to(shared_cache, target_is_directory=True)

    def remove_scratch(self) -> None:
        """Remove what goes with the worker. It may be big: for threads."""
        for folder in (self.tmp_cache, self.artifact_tmp):
            shutil.rmtree(folder, ignore_errors=True)

    def tail(self) -> str:
        """The last `TAIL_BYTES` of what it printed; empty where that can't be read."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


class WorkerProcess:
    """A worker's process and all processes that it starts: they form a session of their own.

    Attributes:
        name: Name of the worker.
        pid: Its process id.
        files: Where it runs and what it leaves.
        base_url: Address at which it expects the server.
        devices: Its GPUs, as ``CUDA_VISIBLE_DEVICES`` calls them.
    """

    def __init__(
        self,
        name: str,
        process: psutil.Process,
        files: WorkerFiles,
        base_url: str,
        devices: Sequence[str],
        memory: WorkerMemory,
    ) -> None:
        """Use `start` or `find`."""
        self.name = name
        self.pid: int = process.pid
        self.files = files
        self.base_url = base_url
        self.devices = devices
        self._process = process
        self._memory = memory
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        name: str,
        files: WorkerFiles,
        starter: Starter,
        memory: WorkerMemory,
        *,
        base_url: str,
        token: str,
        shared_cache: Path,
        gpus: Sequence[Gpu] = (),
    ) -> WorkerProcess:
        """Start a worker.

        Args:
            name: Name of the worker.
            files: Where it is to run.
            starter: Starts its process.
            memory: The memory that it is to have.
            base_url: Address of the server.
            token: The worker's token.
            shared_cache: The shared cache of its workspace.
            gpus: The GPUs that it is to see; it sees no other.

        Raises:
            OSError: It can't be started.
        """
        files.make(shared_cache)
        environment = _environment(base_url, token, files, gpus)
        try:
            child = await starter.start(Start(environment, files.folder, files.log))
        except BaseException:
            await asyncio.to_thread(memory.release)
            raise
        # It has said nothing yet, and so been given nothing to run.
        memory.add(child.pid)
        try:
            process = psutil.Process(child.pid)
        except psutil.NoSuchProcess as error:
            message = f"it ended at once, with exit code {await asyncio.shield(child.ended)}"
            raise ChildProcessError(message) from error
        devices = [gpu.device for gpu in gpus]
        try:
            began = _began(process)
            record: dict[str, Any] = {
                "pid": child.pid,
                "began": began,
                "base_url": base_url,
                "gpus": devices,
            }
            if memory.group is not None:
                record["memory"] = {"group": str(memory.group.folder), "limit": memory.limit}
            write_private(files.record, json.dumps(record) + "\n")
        except OSError:
            # A server that comes after this one would not find it.
            if not child.ended.done():
                kill_session(child.pid)
            raise
        worker = cls(name, process, files, base_url, devices, memory)
        worker._watch = asyncio.create_task(worker._wait_for_child(child))
        return worker

    @classmethod
    def find(cls, name: str, files: WorkerFiles, memory: Memory) -> WorkerProcess | None:
        """Find a worker that an earlier server started.

        Args:
            name: Name of the worker.
            files: Where it runs.
            memory: The memory of this machine.

        Returns:
            The worker, or None where it has ended.
        """
        worker = cls._recorded(name, files, memory)
        if worker is None:
            threading.Thread(target=_tidy_up_after, args=(files, memory), daemon=True).start()
        return worker

    @classmethod
    def _recorded(cls, name: str, files: WorkerFiles, memory: Memory) -> WorkerProcess | None:
        """The worker that the record tells of, if it lives."""
        try:
            record: Any = json.loads(files.record.read_text(encoding="utf-8"))
            process = psutil.Process(int(record["pid"]))
            # Ids are used again; with the moment of the start they are unique.
            same = _began(process) == record["began"]
            devices = [str(device) for device in record.get("gpus", ())]
            own = _memory_of(record, memory)
            worker = cls(name, process, files, str(record["base_url"]), devices, own)
        except (OSError, ValueError, TypeError, KeyError, psutil.Error):
            return None
        if not same or not _lives(process):
            return None
        worker._watch = asyncio.create_task(worker._wait_for_stranger())
        return worker

    async def wait(self) -> End:
        """Wait for its end.

        Returns:
            How it ended. Its exit code is not known where its parent has ended before it, since
            only a parent is told.
        """
        return await asyncio.shield(self._ended)

    async def stop(self, grace: float) -> End:
        """Ask it to end, and after a while make it end.

        Args:
            grace: Seconds that it has.

        Returns:
            As `wait`.
        """
        if not self._ended.done():
            with contextlib.suppress(psutil.NoSuchProcess):
                self._process.terminate()
        try:
            return await asyncio.wait_for(self.wait(), grace)
        except asyncio.TimeoutError:
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        """Make it end at once, with all that it started."""
        if not self._ended.done() and _lives(self._process):
            kill_session(self.pid)

    async def _wait_for_child(self, child: Child) -> None:
        code = await asyncio.shield(child.ended)
        if code is None:
            await self._wait_for_stranger()
        else:
            await self._tidy_up(code)

    async def _wait_for_stranger(self) -> None:
        while _lives(self._process):  # noqa: ASYNC110 - nobody else would tell
            await asyncio.sleep(POLL_SECONDS)
        # A living process of this id would be a new one that has nothing to do with us.
        if self._process.is_running() or not psutil.pid_exists(self.pid):
            kill_session(self.pid)
        await self._tidy_up(None)

    async def _tidy_up(self, code: int | None) -> None:
        end = End(code, self._memory.ran_out(code), self._memory.limit)
        await asyncio.to_thread(self._memory.release)
        await asyncio.to_thread(self.files.remove_scratch)
        self._ended.set_result(end)


def _memory_of(record: dict[str, Any], memory: Memory) -> WorkerMemory:
    """What a record says of a worker's memory."""
    if (had := record.get("memory")) is None:
        return WorkerMemory(memory)
    return WorkerMemory(memory, Group(Path(str(had["group"]))), int(had["limit"]))


def _tidy_up_after(files: WorkerFiles, memory: Memory) -> None:
    """Remove what a worker has left that ended while no server was there."""
    files.remove_scratch()
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        _memory_of(json.loads(files.record.read_text(encoding="utf-8")), memory).release()


def _environment(
    base_url: str, token: str, files: WorkerFiles, gpus: Sequence[Gpu]
) -> dict[str, str]:
    return {
        **base_environment(),
        "AIAUTO_BASE_URL": base_url,
        "AIAUTO_TOKEN": token,
        "AIAUTO_SHARED_CACHE_DIR": str(files.shared_cache),
        "AIAUTO_TMP_CACHE_DIR": str(files.tmp_cache),
        "AIAUTO_ARTIFACT_TMP_DIR": str(files.artifact_tmp),
        **gpu_environment(gpus),
    }


def _began(process: psutil.Process) -> str:
    """When a process began, in words that stay the same whatever becomes of the clock.

    Raises:
        OSError: It is gone, by now.
        NoSuchProcess: The same.
    """
    if sys.platform != "linux":
        return f"{process.create_time():.0f}"
    # Where Linux tells the time of a start by the clock, that moves when the clock is set.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    words = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
    return f"{words[19].decode()} ticks after boot {boot}"


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
