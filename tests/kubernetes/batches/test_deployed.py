"""Servers as they are deployed: with the rights of their Role, and several on one database."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import aiauto
from aiauto.testing import EmbeddedServer, embedded_server
from tests.kubernetes.batches.conftest import Batch, held, quick
from tests.kubernetes.batches.test_troubles import HOW_PODS_END, counts, one_in_a_trial, reasons
from tests.kubernetes.servers import Service, server_on, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kubernetes.cluster import Cluster
    from tests.postgresql import PostgreSQL

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("node")]

ROLE = Path(__file__).parents[3] / "deploy" / "kubernetes" / "base" / "role.yaml"
N_TRIALS = 8
TOKEN = "aiauto_" + "0123456789abcdef" * 2


def with_the_rights_of_the_role(cluster: Cluster) -> Path:
    role, _ = yaml.safe_load_all(ROLE.read_text(encoding="utf-8"))
    return cluster.kubeconfig_of(role["rules"], cluster.namespace)


class TestItsRights:
    @pytest.fixture
    def server(
        self, cluster: Cluster, configuration: dict[str, Any], tmp_path: Path
    ) -> Iterator[EmbeddedServer]:
        limited = with_the_rights_of_the_role(cluster)
        with server_on(cluster, configuration, tmp_path, kubeconfig=limited) as running:
            yield running

    @pytest.mark.parametrize("how", ["oom", "evict"])
    def test_they_are_enough(
        self, cluster: Cluster, server: EmbeddedServer, start: Callable[..., Batch], how: str
    ) -> None:
        batch = start(held, N_TRIALS, 2)
        getattr(cluster, how)(one_in_a_trial(batch, 2))
        batch.until(lambda: batch.status["count_failed"] == 1, "that the end of a Pod is noticed")
        batch.study.cancel(batch.name)
        batch.until(lambda: not batch.jobs and not batch.pods, "that its Pods are gone")
        assert counts(start(quick, N_TRIALS, 1).finish()) == (N_TRIALS, 0, N_TRIALS)
        log = (server.data_dir / "server.log").read_text(encoding="utf-8")
        assert "forbidden" not in log


def test_what_its_pod_prints_holds_no_token(cluster: Cluster, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aiauto", "serve", "--executor", "kubernetes", "--port", "0"],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "AIAUTO_DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = "".join(itertools.takewhile(lambda line: "Data:" not in line, process.stdout))
        token = (tmp_path / "token").read_text(encoding="utf-8").strip()
    finally:
        process.terminate()
        rest, log = process.communicate(timeout=60)
    assert "is running on" in told
    assert str(tmp_path / "token") in told
    assert token.startswith("aiauto_")
    assert token not in told + rest + log


class TestSeveral:
    @pytest.fixture
    def service(
        self,
        cluster: Cluster,
        configuration: dict[str, Any],
        postgresql: PostgreSQL,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Service]:
        """Two servers on one PostgreSQL, as the overlay has them."""
        with Service(cluster.address) as service, contextlib.ExitStack() as stack:
            how = {**configuration, "worker_url": service.url}
            limited = with_the_rights_of_the_role(cluster)
            stack.enter_context(settings_for(limited, how, tmp_path))
            for name, value in {
                "AIAUTO_DATABASE_URL": postgresql.create_database(),
                "AIAUTO_FILES_DIR": tmp_path / "shared" / "files",
                "AIAUTO_SESSION_SECRET": "a secret of more than thirty-two characters",
                "AIAUTO_ADMIN_TOKEN": TOKEN,
            }.items():
                monkeypatch.setenv(name, str(value))
            for folder in ("one", "two"):
                service.servers.append(stack.enter_context(embedded_server(tmp_path / folder)))
            yield service

    @pytest.mark.timeout(400)
    @pytest.mark.parametrize(("how", "reason"), HOW_PODS_END)
    def test_any_of_them_may_go(
        self,
        cluster: Cluster,
        service: Service,
        study_name: str,
        image: str | None,
        how: str,
        reason: str,
    ) -> None:
        one, two = service.servers
        controller = aiauto.AIAutoController(TOKEN, base_url=service.url)
        study = controller.create_study(study_name, direction="minimize")
        name = study.optimize(
            held, n_trials=N_TRIALS, parallelism=2, runtime_image=image, wait_option="WAIT_NO"
        )
        batch = Batch(name, study, cluster, one)
        one_in_a_trial(batch, 2)
        # One after the other, so that the leader is among them.
        end_pod = getattr(cluster, how)
        one.kill()
        end_pod(one_in_a_trial(batch, 2))
        batch.until(lambda: batch.status["count_failed"] == 1, "that two notices the end of a Pod")
        one.start()
        two.kill()
        end_pod(one_in_a_trial(batch, 2))
        batch.until(lambda: batch.status["count_failed"] == 2, "that one notices the end of a Pod")
        two.start()
        batch.go()
        assert counts(batch.finish()) == (N_TRIALS - 2, 2, N_TRIALS)
        assert reasons(batch) == [reason, reason]
        numbers = [trial.number for trial in study.get_study().trials]
        assert numbers == list(range(N_TRIALS))
