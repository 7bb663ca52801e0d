"""Every code block of docs/ and the README runs, page by page, on a server of the page's own.

What a page names and a test has not is told in `AROUND`: what stands for it, and what has to be
there before. Blocks of other kinds than `RUN` have tests of their own, which `OTHERS` names.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from aiauto.server.executors import mounts
from tests.docs import stand_ins
from tests.examples.conftest import STAND_IN, override
from tests.issuer import CLIENT_ID, CLIENT_SECRET, issuing_beside
from tests.test_notebooks import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiauto.testing import EmbeddedServer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Of any kind, and wherever it stands: in a list, in a quotation.
FENCE = re.compile(r"^[ \t>]*(?:```|~~~)", re.MULTILINE)
# Drawings: page, and what they begin with.
DRAWN = {
    ("../README.md", "simple_optimization: "),
    ("../README.md", "your script ──► "),
    ("concepts.md", "your script ──► "),
}
SKIPPED = re.compile(r'<!-- skip: next "(.*)" -->')
RUN = {"python", "bash", "text"}
NOTEBOOK = "how-to/notebook.md"
# Guides with tests of their own.
ELSEWHERE = {"codegen.md", NOTEBOOK}
OTHERS = {
    ("change-the-schema.md", "proto"): "test_change_the_schema.py",
    ("codegen.md", "proto"): "test_codegen.py",
    ("codegen.md", "yaml"): "test_codegen.py",
    ("kubernetes.md", "yaml"): "test_kubernetes.py",
    ("server.md", "ini"): "test_server.py",
    ("server.md", "nginx"): "test_server.py",
    ("server.md", "yaml"): "test_server.py",
}
PROGRAM = "from code_blocks import main; main()"

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]


def blocks(page: str) -> list[tuple[str, str]]:
    return FENCED.findall((DOCS / page).read_text(encoding="utf-8"))


PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
WITH_CODE = [page for page in PAGES if any(kind in RUN for kind, _ in blocks(page))]


class Around:
    """What is around whoever reads a page.

    Attributes:
        folder: Where they are.
        elsewhere: What stands for what the page names; None where nothing can.
        environment: Their variables.
    """

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self.request = request
        self.folder = folder
        self.elsewhere: dict[str, str | None] = {}
        self.environment: dict[str, str] = {}


def checkout(around: Around) -> None:
    """A checkout, and a server that stands for the one on the cluster."""
    for name in ("deploy", "examples"):
        ignored = shutil.ignore_patterns("secrets", "__pycache__")
        shutil.copytree(ROOT / name, around.folder / name, ignore=ignored)
    patch: pytest.MonkeyPatch = around.request.getfixturevalue("monkeypatch")
    patch.setenv("AIAUTO_TRUST_USERS", "1")
    server: EmbeddedServer = around.request.getfixturevalue("own_server")
    server.data_dir.mkdir()
    server.start()


def certificate(around: Around) -> None:
    """A certificate and a free port to serve with it, and a database."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(str(around.folder / "server.pem"), append=number > 0)
    issued.private_key_pem.write_to_path(str(around.folder / "server.key"))
    authority.cert_pem.write_to_path(str(around.folder / "authority.pem"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    around.elsewhere["--port 8787"] = f"--port {port}"
    around.elsewhere["https://aiauto.example.org:8787"] = f"https://127.0.0.1:{port}"
    database = "postgresql+psycopg://aiauto@db.example.org/aiauto"
    try:
        around.elsewhere[database] = around.request.getfixturevalue("postgresql").create_database()
    except pytest.skip.Exception:
        around.elsewhere[database] = None


def issuer(around: Around) -> None:
    """An issuer, which knows the server."""
    secret = around.folder / "oidc-secret"
    secret.write_text(CLIENT_SECRET, encoding="utf-8")
    stack = contextlib.ExitStack()
    around.request.addfinalizer(stack.close)
    running = stack.enter_context(issuing_beside())
    around.elsewhere["https://login.example.org/realms/lab"] = running.url
    around.elsewhere["_CLIENT_ID=aiauto"] = f"_CLIENT_ID='{CLIENT_ID}'"
    around.elsewhere["/etc/aiauto/oidc-secret"] = str(secret)


def mnt(around: Around) -> None:
    """A folder that anybody may write to."""
    (around.folder / "mnt").mkdir()
    around.elsewhere[" /mnt/"] = f" {around.folder}/mnt/"


def index(around: Around) -> None:
    """The index that packages are installed from."""
    around.environment["UV_OFFLINE"] = "0"


def readme(around: Around) -> None:
    """What a reader of the README has: the objective in a file, and folders for links."""
    first = next(code for kind, code in blocks("../README.md") if kind == "python")
    (around.folder / "train.py").write_text(first.partition("ac =")[0], encoding="utf-8")
    around.elsewhere["first-63e19832"] = "$(aiauto batch list --study first | tail -1 | cut -f1)"
    around.elsewhere["$AIAUTO_TOKEN"] = "<token>"
    # To write each into SQLite takes its time.
    around.elsewhere[" -n 100 "] = " -n 8 "
    mnt(around)


AROUND: dict[str, Callable[[Around], None]] = {
    "../README.md": readme,
    "how-to/reproducibility.md": index,
    "how-to/shared-data.md": mnt,
    "how-to/sign-in.md": issuer,
    "kubernetes.md": checkout,
    "server.md": certificate,
}


@pytest.fixture
def environment(
    tmp_path: Path, embedded_environment: dict[str, str], gpus: Callable[..., None]
) -> dict[str, str]:
    """As on a machine with two GPUs, on which nothing was set up. PyTorch is a stand-in."""
    gpus("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090")
    programs = tmp_path / "programs"
    stand_ins.install(programs)
    return {
        **embedded_environment,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(HERE),
        "UV_OVERRIDE": override(tmp_path, ["torch"], STAND_IN),
        "UV_OFFLINE": "1",
        "AIAUTO_CACHE_DIR": str(tmp_path / "environments"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        # What is named is what is installed here.
        "PIP_NO_INDEX": "1",
        stand_ins.USED: str(tmp_path / "used"),
    }


@pytest.mark.parametrize(
    "page", [*(page for page in WITH_CODE if page not in ELSEWHERE), "../README.md"]
)
def test_the_blocks_run(
    page: str,
    tmp_path: Path,
    environment: dict[str, str],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    around = Around(request, folder)
    if page in AROUND:
        AROUND[page](around)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(DOCS / page)],
        cwd=folder,
        env={
            **environment,
            **around.environment,
            "DOCS_ELSEWHERE": json.dumps(around.elsewhere),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = [line.split("\t") for line in done.stdout.splitlines()]
    assert [kind for _, kind, *_ in seen] == [kind for kind, _ in blocks(page) if kind in RUN]
    for line, kind, skipped, used in seen:
        where = f"{Path(page).as_posix().removeprefix('../')}:{line} ({kind})"
        record_property("code block", f"{where}: {skipped}" if skipped else "")
        if used:
            record_property("stand-ins", f"{where}: {used}")


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_no_block_is_left_out(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    # One that is found in another way by a reader than by the tests would not be run.
    assert len(FENCE.findall(text)) == 2 * len(blocks(page))
    drawn = {start for of, start in DRAWN if of == page}
    for kind, code in blocks(page):
        if not kind:
            assert code.startswith(tuple(drawn)), code
            drawn -= {start for start in drawn if code.startswith(start)}
        elif kind not in RUN:
            assert kind in (HERE / OTHERS[page, kind]).read_text(encoding="utf-8")
    assert drawn == set()
    for reason in SKIPPED.findall(text):
        # Another test runs it.
        test, _, _ = reason.partition(" ")
        assert (ROOT / test).exists(), reason


def test_the_links_are_those_that_the_server_makes() -> None:
    shown = [code for _, code in blocks("how-to/shared-data.md") if "sudo ln" in code]
    assert shown == [code for _, code in blocks("../README.md") if "sudo ln" in code]
    links = re.findall(r"^sudo ln -s (\S+) (\S+)$", shown[0], re.MULTILINE)
    made = {path: mounts.OWN_FOLDER / name for path, name in mounts.MOUNTS.items()}
    assert {Path(place): Path(target) for target, place in links} == made


def test_the_notebook_runs(
    tmp_path: Path,
    own_server: object,
    record_property: Callable[[str, object], None],
) -> None:
    cells = [code for kind, code in blocks(NOTEBOOK) if kind == "python"]
    assert len(cells) == len(blocks(NOTEBOOK)) > 5
    execute(tmp_path, *cells)
    for _ in cells:
        record_property("code block", "")
