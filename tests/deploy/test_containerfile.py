"""The image of the server: what builds it works, as far as that can be seen without an engine."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aiauto.server.executors.kubernetes.configuration import DEFAULT_USER
from aiauto.version import __version__
from tests.deploy.rendering import DEPLOY, ROOT, overlay, pod_specs

pytestmark = pytest.mark.once

CONTAINERFILE = DEPLOY / "Containerfile"
IGNORED = ROOT / ".containerignore"
BUILD_SECONDS = 150


def instructions() -> list[tuple[str, str]]:
    """What it says, line by line, as words and what follows them."""
    text = CONTAINERFILE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word, rest) for word, rest in pairs]


def test_hadolint_finds_nothing_to_say() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("There is no hadolint for this system")
    done = subprocess.run([program, CONTAINERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_docker_leaves_out_the_same_as_podman() -> None:
    assert (ROOT / ".dockerignore").read_bytes() == IGNORED.read_bytes()


def test_what_it_copies_is_there_and_goes_along() -> None:
    patterns = [
        line
        for line in IGNORED.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    kept = {line[1:] for line in patterns if line.startswith("!")}
    copied = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert set(copied) == kept
    assert patterns[0] == "*"
    for source in copied:
        assert (ROOT / source).exists()
    assert any(
        fnmatch.fnmatch("aiauto/__pycache__/x.pyc", one) for one in patterns if "!" not in one
    )


def test_its_commands_make_a_server(tmp_path: Path) -> None:
    """The first stage, command by command, with its folders under that of the test."""
    folders = {
        name: str(tmp_path / name.strip("/").replace("/", "-")) for name in ("/src", "/dist")
    }
    folders["/opt/aiauto"] = str(tmp_path / "opt-aiauto")
    source = Path(folders["/src"])
    source.mkdir()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    stages = 0
    for word, rest in instructions():
        stages += word == "FROM"
        if stages != 1:
            continue
        if word == "COPY":
            *names, _ = rest.split()
            for name in names:
                _copy(ROOT / name, source / name)
        if word == "RUN" and not rest.startswith("pip install"):
            command = rest
            for folder, place in folders.items():
                command = re.sub(rf"(?<![\w.]){folder}\b", place, command)
            done = subprocess.run(
                ["/bin/sh", "-ec", command],
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
                timeout=BUILD_SECONDS,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
    programs = Path(folders["/opt/aiauto"], "bin")
    program = programs / dict(instructions())["ENTRYPOINT"].strip('[]"')
    told = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    assert __version__ in told.stdout
    extras = "import kubernetes_asyncio, psycopg, yaml"
    subprocess.run([programs / "python", "-c", extras], cwd=tmp_path, check=True)
    command = json.loads(dict(instructions())["CMD"])
    asked = [program, command[0], "--help"]
    options = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert all(option in options for option in command if option.startswith("--"))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def test_it_runs_as_kubernetes_runs_it() -> None:
    said = dict(instructions())
    (server,) = [
        spec for name, spec in pod_specs(overlay("kind")).items() if name.endswith("server")
    ]
    user = server["securityContext"]["runAsUser"]
    assert said["USER"] == f"{user}:{user}"
    assert user == DEFAULT_USER
    container = server["containers"][0]
    # The entry is that of the image; what it does is said in both places.
    assert "command" not in container
    assert json.loads(said["CMD"]) == container["args"][:5]
    assert said["EXPOSE"] == str(container["ports"][0]["containerPort"])
    data = dict(one.split("=", 1) for one in shlex.split(said["ENV"]))["AIAUTO_DATA_DIR"]
    assert data in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert said["VOLUME"] == data
