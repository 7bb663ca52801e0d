"""The message that every contestant sends. Its classes come from different generators."""

from __future__ import annotations

from typing import Any, Final

FIELDS: Final[dict[str, Any]] = {
    "study": "resnet50-imagenet-sweep",
    "trial_id": "0b2f6c1e-5d0a-4a53-9c55-0c7a6a1f3a10",
    "worker": "trial-batch-7f9c-worker-3",
    "state": "RUNNING",
    "number": 417,
    "started_ms": 1_767_225_600_123,
    "attempt": 1,
    "value": 0.8731942,
    "duration": 182.25,
    "params": {"learning_rate": 0.00031, "dropout": 0.25, "weight_decay": 1e-05, "momentum": 0.9},
    "intermediate_values": [0.41, 0.62, 0.71, 0.79, 0.83, 0.86],
    "tags": ["gpu-a100", "mixed-precision"],
}
SIZE: Final = 298
"""Its size in bytes in Protobuf's binary form."""
