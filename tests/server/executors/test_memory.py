"""Where the control groups of workers are, and what they tell: by what the kernel's files say.

That the kernel heeds them is for `tests/faults/test_memory.py`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1

from aiauto.errors import InvalidArgumentError
from aiauto.server.batches.memory_limits import check_memory_limit, memory_limit
from aiauto.server.executors.ends import End
from aiauto.server.executors.memory import Group, Memory, WorkerMemory

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


class Kernel:
    """A process's folder in /proc, and the groups that it tells of."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "process"
        self.mount = folder / "mount"
        self.process.mkdir()

    def tell(self, groups: str, mounts: str) -> None:
        (self.process / "cgroup").write_text(groups)
        (self.process / "mountinfo").write_text(mounts.format(mount=self.mount))

    def group(self, path: str, **files: str) -> Path:
        folder = self.mount / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("_", ".", 1)).write_text(text)
        return folder


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


V1 = "31 23 0:28 {root} {{mount}} rw - cgroup cgroup rw,memory\n"
V2 = "41 31 0:38 {root} {{mount}} rw - cgroup2 cgroup2 rw,nsdelegate\n"
BOTH = "4:memory:/jobs/one\n1:cpu:/other\n0::/jobs/two\n"


def test_version_1(kernel: Kernel) -> None:
    own = kernel.group("jobs/one", memory_limit_in_bytes="0", memory_oom_control="oom_kill 3\n")
    kernel.tell(BOTH, V1.format(root="/") + V2.format(root="/"))
    memory = Memory(kernel.process)
    assert (memory.parent, memory.kills) == (own, 3)


def test_a_container_sees_a_part(kernel: Kernel) -> None:
    """The path counts from the root of the machine, and the mount shows what is the container's."""
    own = kernel.group("", memory_limit_in_bytes="0", memory_oom_control="oom_kill 2\n")
    kernel.tell("4:memory:/docker/abc\n", V1.format(root="/docker/abc"))
    memory = Memory(kernel.process)
    assert (memory.parent, memory.kills) == (own, 2)


def test_version_2_counts_those_of_the_group_itself(kernel: Kernel) -> None:
    kernel.group("unit/server", memory_events="oom_kill 9\n")
    (kernel.mount / "unit/server/memory.events.local").write_text("oom 1\noom_kill 4\n")
    kernel.tell("0::/unit/server\n", V2.format(root="/"))
    memory = Memory(kernel.process)
    # Nobody has left it to us.
    assert (memory.parent, memory.kills) == (None, 4)


@linux
def test_version_2_where_the_manager_has_left_it_to_us(kernel: Kernel) -> None:
    kernel.group("unit/server", memory_events="oom_kill 0\n")
    unit = kernel.group("unit", cgroup_procs="", cgroup_subtree_control="cpu\n")
    kernel.tell("0::/unit/server\n", V2.format(root="/"))
    assert Memory(kernel.process).parent is None
    try:
        os.setxattr(unit, "user.delegate", b"1")
    except OSError:
        pytest.skip("this file system keeps no attributes of files")
    memory = Memory(kernel.process)
    assert memory.parent == unit
    assert (unit / "cgroup.subtree_control").read_text() == "+memory"


def test_no_groups(kernel: Kernel) -> None:
    assert (Memory(kernel.process).parent, Memory(kernel.process).kills) == (None, 0)
    kernel.tell("0::/gone\n", V2.format(root="/"))
    assert (Memory(kernel.process).parent, Memory(kernel.process).kills) == (None, 0)
    memory = WorkerMemory.of_new(Memory(kernel.process), "worker", 2**20)
    memory.add(os.getpid())
    memory.release()
    assert (memory.group, memory.limit) == (None, None)


def test_limits(kernel: Kernel) -> None:
    first = kernel.group("1", memory_limit_in_bytes="", memory_memsw_limit_in_bytes="")
    Group(first).limit(2**20)
    second = kernel.group("2", memory_max="", memory_swap_max="")
    (second / "memory.swap.max").write_text("max")
    Group(second).limit(2**20)
    found = {file.name: file.read_text() for file in second.iterdir()}
    assert (found["memory.max"], found["memory.swap.max"]) == (str(2**20), "0")
    assert (first / "memory.limit_in_bytes").read_text() == str(2**20)


def test_who_was_killed_beside_the_server(kernel: Kernel) -> None:
    own = kernel.group("jobs/one", memory_limit_in_bytes="0", memory_oom_control="oom_kill 1\n")
    kernel.tell(BOTH, V1.format(root="/"))
    machine = Memory(kernel.process)
    workers = [WorkerMemory.of_new(machine, f"worker-{number}", None) for number in range(4)]
    killed = -signal.SIGKILL
    assert not workers[0].ran_out(killed), "that one was before"
    (own / "memory.oom_control").write_text("oom_kill 3\n")
    assert not workers[1].ran_out(1)
    assert not workers[1].ran_out(None)
    # Two were killed by the kernel, and the third one by somebody else.
    assert [worker.ran_out(killed) for worker in workers[1:]] == [True, True, False]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"cpu": "1"}, None),
        ({"memory": "256Mi"}, None),  # what stands where nobody has named any
        ({"memory": "512Mi"}, 512 * 2**20),
        ({"memory": "1.5Gi"}, 3 * 2**29),
        ({"memory": "129e6"}, 129_000_000),
        ({"memory": "128974848"}, 128_974_848),
        ({"memory": "9" * 30 + "Ei"}, 2**60),
    ],
)
def test_what_a_batch_allows(limits: dict[str, str], expected: int | None) -> None:
    spec = v1.TrialBatchSpec(resources_limits=limits)
    check_memory_limit(spec)
    assert memory_limit(spec) == expected


@pytest.mark.parametrize("amount", ["", "much", "0", "-1Gi", "100m", "9" * 31, "1e999"])
def test_what_is_no_amount(amount: str) -> None:
    spec = v1.TrialBatchSpec(resources_limits={"memory": amount})
    with pytest.raises(InvalidArgumentError, match="an amount such as"):
        check_memory_limit(spec)


def test_ends_in_words() -> None:
    words = {
        End(0): ("Completed", "exit code 0"),
        End(3): ("Error", "exit code 3"),
        End(None): ("Ended", "how is not known"),
        End(-signal.SIGTERM): ("Killed", "SIGTERM"),
        End(-signal.SIGKILL): ("Killed", "may have run out of memory"),
        End(-signal.SIGKILL, out_of_memory=True): ("OOMKilled", "The machine was out of memory"),
        End(None, out_of_memory=True, memory_limit=2**30): ("OOMKilled", "allows it 1024 MiB"),
    }
    for end, (reason, part) in words.items():
        assert end.reason == reason
        assert part in end.sentence
