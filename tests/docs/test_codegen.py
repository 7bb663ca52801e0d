"""What docs/codegen.md shows works as it stands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs/codegen.md"
pytestmark = pytest.mark.once

FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [
        body for name, body in FENCED.findall(GUIDE.read_text(encoding="utf-8")) if name == kind
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project set up as the guide says."""
    root = tmp_path_factory.mktemp("project")
    (schema,) = blocks("proto")
    target = root / "proto/acme/shop/v1/shop.proto"
    target.parent.mkdir(parents=True)
    target.write_text(schema)
    (template,) = blocks("yaml")
    (root / "buf.gen.yaml").write_text(template)
    generate = "buf generate proto"
    assert f"Then `{generate}`" in GUIDE.read_text(encoding="utf-8")
    done = run(root, *generate.split())
    assert done.returncode == 0, done.stderr
    for name, block in zip(("server.py", "blocking.py"), blocks("python"), strict=True):
        (root / name).write_text(block)
    return root


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=root,
        # What is named is what is installed here.
        env={**os.environ, "PATH": path, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_is_installed_is_what_is_named(tmp_path: Path) -> None:
    install, _ = blocks("bash")
    done = run(tmp_path, "bash", "-euc", install)
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^Requirement already satisfied: ([\w-]+)\S* in", done.stdout, re.MULTILINE)
    assert {"aiauto-client", "betterproto2-compiler", "buf-bin"} <= set(told)


def test_the_programs_run(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = project / "on_a_free_port.py"
    text = (project / "server.py").read_text().replace("8080", port)
    # The blocking client and curl call the server that the other program has started.
    _, curl = blocks("bash")
    shell = ["bash", "-c", curl.replace("8080", port)]
    calls = f"""\
    await asyncio.to_thread(blocking.show, "http://127.0.0.1:{port}")
    await asyncio.to_thread(subprocess.run, {shell}, check=True)
"""
    end = "    await runner.cleanup()\n"
    assert text.count(end) == 1
    server.write_text(f"import subprocess\nimport blocking\n{text.replace(end, calls + end)}")
    done = run(project, sys.executable, "-u", server.name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Order(id='7', cents=1250)",
        "1250",
        "990",
        "1250",
        '{"id":"7","cents":"1250"}',
    ]


def test_the_types_check(project: Path) -> None:
    pytest.importorskip("mypy")
    # As from an installed package, whose own files are not checked: see the guide's limits.
    command = ["mypy", "--strict", "--follow-imports", "silent", "server.py", "blocking.py"]
    done = run(project, sys.executable, "-m", *command)
    assert done.returncode == 0, done.stdout
