"""What tests stand on: an environment of their own, and a real server where they ask for one."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiauto.legible import legible
from aiauto.testing import EmbeddedServer, embedded_server
from tests import needs
from tests.postgresql import PostgreSQL, postgresql_server
from tests.proxy import CuttingProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from aiauto import AIAutoController


# A shell ignores Ctrl-C on behalf of what it runs in the background, and that is inherited: tests
# that press it would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


DAY_SECONDS = 86_400.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests about Kubernetes run on its own control plane."""
    parser.addoption(
        "--control-plane",
        action="store_true",
        help="run tests/kubernetes on the control plane that `make control-plane` built",
    )
    parser.addoption(
        "--cluster",
        action="store_true",
        help="run tests/kubernetes/batches on the cluster that KUBECONFIG names",
    )
    parser.addoption(
        "--cluster-image",
        metavar="IMAGE",
        help="what workers run in on that cluster (default: what the server chooses)",
    )
    parser.addoption(
        "--cluster-address",
        metavar="ADDRESS",
        default="",
        help="this machine's, as Pods of that cluster reach it (default: on the way to a node)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make reports text, and it a failure to be left out for want of what this machine has."""
    report = yield
    # What was logged may be no text that a test process can send, which would end all of them.
    report.sections = [(title, legible(content)) for title, content in report.sections]
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if (name := needs.broken_promise(reason)) is not None:
            report.outcome = "failed"
            report.longrepr = f"{reason}: {needs.VARIABLE} says that this machine has {name}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell of rounds of faults, hostile inputs, PyTorch for the examples, and blocks of docs/."""
    of_outcomes = terminalreporter.stats.values()
    reports: list[Any] = [one for of_outcome in of_outcomes for one in of_outcome]
    # Those that were left out never came to their call.
    last = [
        one
        for one in reports
        if getattr(one, "when", "") == "call" or getattr(one, "skipped", False)
    ]

    ends = [one for one in reports if getattr(one, "when", "") == "teardown"]

    def noted(name: str, of: list[Any] = last) -> list[str]:
        properties = [pair for one in of for pair in getattr(one, "user_properties", ())]
        return [str(value) for one, value in properties if one == name]

    if seeds := noted("fault round"):
        told = ", ".join(sorted(set(seeds)))
        terminalreporter.write_line(f"{len(seeds)} rounds of faults, AIAUTO_FAULT_SEED={told}:")
        for fault, count in sorted(Counter(noted("fault")).items()):
            terminalreporter.write_line(f"  {count:4} {fault}")
    if kinds := noted("PyTorch"):
        told = ", ".join(sorted(set(kinds)))
        terminalreporter.write_line(f"examples with PyTorch ran on: {told}")
    if inputs := noted("fuzz inputs", ends):
        terminalreporter.write_line(f"{sum(map(int, inputs)):,} hostile inputs (tests/fuzz)")
    if code := noted("code block"):
        skipped, stand_ins = sorted(filter(None, code)), sorted(noted("stand-ins"))
        ran = len(code) - len(skipped)
        terminalreporter.write_line(
            f"{ran} code blocks of docs/ and the README ran, {len(stand_ins)} of them with "
            f"stand-ins for programs, and {len(skipped)} elsewhere or not:"
        )
        for one in [*stand_ins, *skipped]:
            terminalreporter.write_line(f"  {one}")


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that the machine's user has set, stored or is running reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AIAUTO_")]:
            patch.delenv(name)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config-home")))
        patch.setenv("AIAUTO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A server that the tests of one process share. For tests that leave it running."""
    # Others may need it an hour from now, and it would end by itself before.
    with embedded_server(idle_timeout=DAY_SECONDS) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL that the tests of one process share. Each makes a database of its own there."""
    with postgresql_server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.once)])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes an empty database, of each kind in turn, and gives its SQLAlchemy URL."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path / uuid.uuid4().hex}.sqlite3"
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    return postgresql.create_database


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    """SQLAlchemy URL of an empty database, of each kind in turn."""
    return new_database()


@pytest.fixture
def controller(server: EmbeddedServer) -> AIAutoController:
    """A controller of the shared server."""
    from aiauto import AIAutoController

    return AIAutoController(server.token, server.url)


@pytest.fixture
def study_name() -> str:
    """A name that no other test uses."""
    return f"study-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    """The server of this machine, as a script without a token and an address meets it.

    It is not running yet; whatever starts it, it ends with the test.
    """
    server = EmbeddedServer(tmp_path / "data")
    monkeypatch.setenv("AIAUTO_DATA_DIR", str(server.data_dir))
    yield server
    server.close()


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[CuttingProxy]:
    """A bad way to the shared server."""
    with CuttingProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
def embedded_environment(own_server: EmbeddedServer) -> dict[str, str]:
    """Environment for a script without a token and an address."""
    assert os.environ["AIAUTO_DATA_DIR"] == str(own_server.data_dir)
    return dict(os.environ)


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give servers that start from now on GPUs, by their names; called again, others."""
    folder = tmp_path / "nvidia"
    folder.mkdir()
    program = folder / "nvidia-smi"
    source = (Path(__file__).parent / "nvidia_smi.py").read_text(encoding="utf-8")
    program.write_text(f"#!{sys.executable}\n{source}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(*names: str) -> None:
        (folder / "gpus").write_text("\n".join(names), encoding="utf-8")

    install()
    return install
