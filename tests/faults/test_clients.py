"""Clients that die while they submit a batch, and that submit it again: it is one batch."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync

from aiauto.connect import SyncTransport
from aiauto.objective import pack
from tests.faults.judging import judge, noting
from tests.faults.rounds import every_round

if TYPE_CHECKING:
    import random
    from pathlib import Path

    import aiauto
    from aiauto.testing import EmbeddedServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them"),
]

N_TRIALS = 10

CLIENT = """
import sys
from pathlib import Path
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync
from aiauto.connect import SyncTransport

request = v1.OptimizeRequest.parse(Path(sys.argv[1]).read_bytes())
with SyncTransport(sys.argv[2], token=sys.stdin.readline().strip()) as transport:
    service = AIAutoServiceClientSync(transport)
    print("ready", flush=True)
    sys.stdin.readline()
    print(service.optimize(request).trialbatch_name, flush=True)
"""


@every_round
def test_a_client_dies_and_others_repeat_what_it_wanted(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    tmp_path: Path,
    number: int,
) -> None:
    request = v1.OptimizeRequest(
        objective=pack(noting(notes)),
        batch=v1.TrialBatchSpec(study_name=study.study_name, n_trials=N_TRIALS, parallelism=2),
        request_id=uuid.uuid4().hex,
    )
    (tmp_path / "request").write_bytes(bytes(request))
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(tmp_path / "request"), impatient.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(f"{impatient.token}\n")
        client.stdin.flush()
        assert client.stdout.readline() == "ready\n"
        client.stdin.write("go\n")
        client.stdin.flush()
        # It takes about so long to be answered.
        time.sleep(chance.uniform(0, 0.05))
        client.kill()
        answered = client.stdout.readline().strip()

    def repeat(_: int) -> str:
        with SyncTransport(impatient.url, token=impatient.token) as transport:
            return AIAutoServiceClientSync(transport).optimize(request).trialbatch_name

    with ThreadPoolExecutor(3) as threads:
        names = set(threads.map(repeat, range(3)))
    assert len(names | {answered} - {""}) == 1
    (name,) = names
    assert study.wait(trialbatch_name=name, timeout=120)
    assert list(study.get_status()["trialbatches"]) == [name]
    judge(study, name, N_TRIALS, notes=notes, data_dir=impatient.data_dir)
