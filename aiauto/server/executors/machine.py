"""What the workers of this machine share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiauto.server.executors.children import Starter
    from aiauto.server.executors.gpus import Gpus
    from aiauto.server.executors.memory import Memory
    from aiauto.server.files.store import Store


@dataclass(frozen=True)
class Machine:
    """Where local workers run.

    Attributes:
        store: Where the shared caches are.
        gpus: Its GPUs.
        memory: Its memory.
        starter: Starts the workers' processes.
    """

    store: Store
    gpus: Gpus
    memory: Memory
    starter: Starter
