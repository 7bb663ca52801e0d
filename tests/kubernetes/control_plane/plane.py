"""A control plane of Kubernetes, the real one: etcd, API server, controllers and scheduler.

It has no nodes: a test brings its own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.kubernetes.control_plane.credentials import Authority, Pair

if TYPE_CHECKING:
    from collections.abc import Generator

# What `make control-plane` builds.
PROGRAMS: Final = Path(__file__).parents[3] / ".kubernetes" / "bin"
START_SECONDS: Final = 120
# What they keep goes with them: nobody waits long for their good-byes.
STOP_SECONDS: Final = 10
LOOPBACK: Final = "127.0.0.1"
# What batches need, and the Deployment of the server. Nobody judges nodes
# by their heartbeats: one is lost when its object is deleted.
CONTROLLERS: Final = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
)


class ControlPlane:
    """A control plane on loopback. Made by `control_plane`.

    It judges as a cluster does whose administrator is careful: RBAC, the Node authorizer, Pod
    Security, and NodeRestriction are in force.

    Attributes:
        url: Address of the API server.
        kubeconfig: File that leads there as its administrator.
        authority: Signs the certificates that it believes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[tuple[Path, subprocess.Popen[bytes]]] = []
        # Held, but never listened on, so that the port is nobody else's before the server starts.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind((LOOPBACK, 0))
        self.url = f"https://{LOOPBACK}:{self._held.getsockname()[1]}"
        self.authority = Authority(folder)
        administrator = self.authority.issue("administrator", group="system:masters")
        self.kubeconfig = self._kubeconfig(administrator)

    def start(self) -> None:
        """Start it, and wait until it is ready to run Pods."""
        self._start_etcd()
        self._start_api_server()
        self._start_controllers()
        self._start_scheduler()
        # A Pod is refused before its namespace has an account for it.
        self._wait_until("get", "serviceaccount/default", "--namespace=default")

    def stop(self) -> None:
        """End it, and forget all that it knew."""
        for _, process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
        self._processes.clear()
        self._held.close()

    def kubectl(self, *arguments: str, given: str = "", kubeconfig: Path | None = None) -> str:
        """Run kubectl.

        Args:
            arguments: Its arguments.
            given: What it reads from its standard input.
            kubeconfig: Whom it runs as; None for the administrator.

        Returns:
            What it printed.
        """
        done = self.attempt(*arguments, given=given, kubeconfig=kubeconfig)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def attempt(
        self, *arguments: str, given: str = "", kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, as `kubectl` does, for what may be refused."""
        command = [str(PROGRAMS / "kubectl"), f"--kubeconfig={kubeconfig or self.kubeconfig}"]
        return subprocess.run(
            [*command, *arguments], input=given, capture_output=True, text=True, check=False
        )

    def account_kubeconfig(self, namespace: str, account: str) -> Path:
        """Write a kubeconfig of a service account: it may do what its Roles let it."""
        token = self.kubectl("create", "token", account, f"--namespace={namespace}").strip()
        file = self._folder / f"{namespace}.{account}.kubeconfig"
        return self.authority.kubeconfig(file, self.url, token, namespace=namespace)

    def node_kubeconfig(self, node: str) -> Path:
        """Write a kubeconfig of a node: it may do what a kubelet may, for its own Pods only."""
        return self._kubeconfig(self.authority.issue(f"system:node:{node}", group="system:nodes"))

    def _kubeconfig(self, user: Pair) -> Path:
        return self.authority.kubeconfig(
            user.certificate.with_suffix(".kubeconfig"), self.url, user
        )

    def _component_kubeconfig(self, name: str) -> Path:
        return self._kubeconfig(self.authority.issue(f"system:{name}"))

    def _start_etcd(self) -> None:
        # By sockets in the folder: nobody else on the machine gets at the data by them.
        clients, peers = (f"unix://{self._folder}/etcd.{name}" for name in ("clients", "peers"))
        self._run(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _start_api_server(self) -> None:
        serving = self.authority.issue("kube-apiserver", LOOPBACK, "localhost")
        accounts = self.authority.issue("service-accounts")
        kubelets = self.authority.issue("kube-apiserver-kubelet-client", group="system:masters")
        self._run(
            "kube-apiserver",
            f"--etcd-servers=unix://{self._folder}/etcd.clients",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self._held.getsockname()[1]}",
            "--permit-port-sharing",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            # As in every cluster: whom Pod Security lets, may.
            "--allow-privileged",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            # What it puts on new nodes, the controller of their lives would take away.
            "--disable-admission-plugins=TaintNodesByCondition",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            # Nodes tell in their status under which address and port they serve logs.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={kubelets.certificate}",
            f"--kubelet-client-key={kubelets.key}",
            # There is one, which ends with those who ask it.
            "--endpoint-reconciler-type=none",
            "--shutdown-delay-duration=0s",
        )
        self._wait_until("get", "--raw=/readyz")

    def _start_controllers(self) -> None:
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self._component_kubeconfig('kube-controller-manager')}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--root-ca-file={self.authority.certificate}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def _start_scheduler(self) -> None:
        self._run(
            "kube-scheduler",
            f"--kubeconfig={self._component_kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def _run(self, program: str, *arguments: str) -> None:
        log = self._folder / f"{program}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(PROGRAMS / program), *arguments],
                # It ends when nobody holds the other end any more, however this process ended.
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "CONTROL_PLANE_ENDS_WITH_INPUT": "1"},
                cwd=self._folder,
            )
        self._processes.append((log, process))

    def _wait_until(self, *arguments: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (done := self.attempt(*arguments)).returncode != 0:
            for log, process in self._processes:
                assert process.poll() is None, f"{log.stem} ended:\n{_tail(log)}"
            assert time.monotonic() < deadline, f"The control plane is not ready: {done.stderr}"
            time.sleep(0.1)


def require_built() -> None:
    """Skip the test where no control plane has been built."""
    if not (PROGRAMS / "kube-apiserver").exists():
        pytest.skip("There is no control plane of Kubernetes: `make control-plane` builds one")


@contextlib.contextmanager
def control_plane() -> Generator[ControlPlane]:
    """Run a control plane while the block runs. Skips the test where none has been built."""
    require_built()
    # Paths of sockets have little room.
    with tempfile.TemporaryDirectory(prefix="aiauto-k8s-") as name:
        plane = ControlPlane(Path(name))
        try:
            plane.start()
            yield plane
        finally:
            plane.stop()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
