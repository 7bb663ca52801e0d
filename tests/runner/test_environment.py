"""Requirements are installed once for each set of them, whoever needs them and whatever happens.

Packages are made here and named by their place, so that no index is asked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import LogServiceClientSync

import aiauto
from aiauto.connect import SyncTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    import optuna

    from aiauto.testing import EmbeddedServer

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
PREPARE = (
    "import sys; from aiauto.runner import environment\n"
    "try:\n"
    "    print(environment.prepare(sys.argv[1]))\n"
    "except environment.EnvironmentFailedError as error:\n"
    "    sys.exit(str(error))\n"
)
# A build backend that needs nothing but Python, and waits for a file on its first run.
BACKEND = """
import pathlib, time, zipfile
HERE = pathlib.Path({folder!r})
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    first = not (HERE / "begun").exists()
    (HERE / "begun").touch()
    end = time.monotonic() + 60
    while first and not (HERE / "go").exists() and time.monotonic() < end:
        time.sleep(0.05)
    name = "slow_of_the_test-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as archive:
        archive.writestr("slow_of_the_test.py", "TWO = 2.0\\n")
        info = "slow_of_the_test-1.0.dist-info"
        archive.writestr(
            info + "/METADATA", "Metadata-Version: 2.1\\nName: slow-of-the-test\\nVersion: 1.0\\n"
        )
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "slow_of_the_test.py,,\\n")
    return name
"""


def wheel(folder: Path, name: str, text: str, requires: str = "") -> str:
    """Make a package, and give the requirement that names it."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", text)
        archive.writestr(f"{info}/METADATA", metadata + requires)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n")
    return f"{name} @ {path.as_uri()}"


def sdist(folder: Path) -> str:
    """Make a package whose build waits, and give the requirement that names it."""
    path = folder / "slow_of_the_test-1.0.tar.gz"
    root = folder / "slow_of_the_test-1.0"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[project]\nname = "slow-of-the-test"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (root / "backend.py").write_text(BACKEND.format(folder=str(folder)))
    (root / "PKG-INFO").write_text("Metadata-Version: 2.2\nName: slow-of-the-test\nVersion: 1.0\n")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, root.name)
    return f"slow-of-the-test @ {path.as_uri()}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workers' cache of a test that counts what is in it."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("AIAUTO_CACHE_DIR", str(cache))
    # Of the installer as well: another test's build must not spare this one's.
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    return cache


def start(requirements: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, requirements],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def end(process: subprocess.Popen[str]) -> list[str]:
    """The lines that it printed; the last one names the environment."""
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout.splitlines()


def python(folder: str, code: str) -> str:
    done = subprocess.run(
        [f"{folder}/bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_whoever_comes_first_installs_and_all_use_it(cache: Path, tmp_path: Path) -> None:
    requirements = "\n".join(
        [
            wheel(
                tmp_path, "first_of_the_test", "import second_of_the_test as s\nONE = s.TWO / 2\n"
            ),
            wheel(tmp_path, "second_of_the_test", "TWO = 2.0\n"),
        ]
    )
    outputs = [end(one) for one in [start(requirements) for _ in range(4)]]
    assert sum(len(lines) == 2 and lines[0].startswith("Installing") for lines in outputs) == 1
    (folder,) = {lines[-1] for lines in outputs}
    code = "import aiauto, optuna, first_of_the_test as f; print(f.ONE, f.__file__)"
    value, file = python(folder, code).split()
    assert value == "1.0"
    assert Path(file).is_relative_to(folder)
    # The order of lines and what stands between them make no other set.
    reordered = "# the same\n\n" + "\n".join(reversed(requirements.splitlines()))
    assert end(start(reordered)) == [folder]
    assert end(start(requirements.splitlines()[1]))[-1] != folder
    assert end(start("# nothing\n")) == ["None"]


def test_what_the_installer_is_told_by_variables_makes_another_environment(
    cache: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / "old", tmp_path / "new"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        wheel(folder, "first_of_the_test", f"ONE = {number}\n")
    code = "import first_of_the_test as f; print(f.ONE)"

    def choose(links: Path, **environment: str) -> str:
        return end(start("first-of-the-test", UV_FIND_LINKS=str(links), **environment))[-1]

    made = [choose(folder) for folder in folders]
    assert [python(one, code) for one in made] == ["0", "1"]
    assert choose(folders[0]) == made[0]
    # What is kept where, and how much is said, makes no difference to what is installed.
    assert choose(folders[0], UV_CONCURRENT_DOWNLOADS="1", UV_NO_PROGRESS="1") == made[0]
    # A file counts with what is in it.
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("first-of-the-test==1.0\n")
    constrained = choose(folders[0], UV_CONSTRAINT=str(constraints))
    assert constrained not in made
    constraints.write_text("first-of-the-test>=1\n")
    assert choose(folders[0], UV_CONSTRAINT=str(constraints)) not in [*made, constrained]


def test_variables_of_the_installer_are_told_to_nobody(cache: Path, tmp_path: Path) -> None:
    """An index may be named with a password."""
    requirement = wheel(tmp_path, "first_of_the_test", "")
    secret = "https://name:s3cret@localhost:1/simple"
    process = start(requirement, UV_INDEX=secret)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "s3cret" not in stdout + stderr
    names = [str(path) for path in (cache / "environments").iterdir()]
    assert names
    assert not any("s3cret" in name for name in names)


def test_nothing_but_our_own_installer_is_needed(cache: Path, tmp_path: Path) -> None:
    """Neither pip nor uv must be on the machine."""
    requirement = wheel(tmp_path, "first_of_the_test", "import sys\n")
    folder = end(start(requirement, PATH=str(tmp_path)))[-1]
    assert not list(Path(folder).glob("**/site-packages/pip"))
    assert python(folder, "import first_of_the_test, aiauto; print(aiauto.__name__)") == "aiauto"


def test_what_is_installed_comes_before_what_the_worker_has(cache: Path, tmp_path: Path) -> None:
    requirement = wheel(tmp_path, "cmaes", "__version__ = 'of the test'\n")
    folder = end(start(requirement))[-1]
    assert python(folder, "import cmaes, optuna; print(cmaes.__version__)") == "of the test"


def test_a_failure_says_what_the_installer_said(cache: Path, tmp_path: Path) -> None:
    requires = "Requires-Dist: surely-not-there-of-the-test>=3\n"
    requirement = wheel(tmp_path, "first_of_the_test", "", requires)
    process = start(requirement)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The requirements of the objective can't be installed:" in stderr
    assert "surely-not-there-of-the-test" in stderr
    # Nothing is left of it, and another attempt begins anew.
    assert [path.suffix for path in (cache / "environments").iterdir()] in ([], [".lock"])
    wheel(tmp_path, "first_of_the_test", "ONE = 1\n")
    assert python(end(start(requirement))[-1], "import first_of_the_test as f; print(f.ONE)") == "1"


def test_a_cache_that_can_not_be_made_says_which_variable_names_it(
    cache: Path, tmp_path: Path
) -> None:
    cache.touch()
    process = start(wheel(tmp_path, "first_of_the_test", ""))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The requirements of the objective can't be installed: Not a directory" in stderr
    assert f"({str(cache / 'environments')!r})" in stderr
    assert "AIAUTO_CACHE_DIR" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("left", ["nothing", "no python", "dead link"])
def test_an_environment_that_is_not_whole_is_made_anew(
    left: str, cache: Path, tmp_path: Path
) -> None:
    requirement = wheel(tmp_path, "first_of_the_test", "ONE = 1\n")
    folder = Path(end(start(requirement))[-1])
    (folder / "stale").touch()
    if left == "nothing":
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    else:
        for path in (folder / "bin").glob("python*"):
            path.unlink()
    if left == "dead link":
        (folder / "bin" / "python").symlink_to(tmp_path / "removed")
    assert end(start(requirement))[-1] == str(folder)
    assert not (folder / "stale").exists()
    assert python(str(folder), "import first_of_the_test as f; print(f.ONE)") == "1"


@pytest.fixture
def orphans() -> Iterator[list[psutil.Process]]:
    found: list[psutil.Process] = []
    yield found
    for process in found:
        if process.is_running():
            process.kill()


def test_a_worker_that_is_killed_while_it_installs(
    cache: Path, tmp_path: Path, orphans: list[psutil.Process]
) -> None:
    requirement = sdist(tmp_path)
    killed = start(requirement)
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Its installer lives on, and writes where it was told to.
    orphans += psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (building,) = (cache / "environments").glob("*.building-*")
    others = [start(requirement) for _ in range(2)]
    while building.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (tmp_path / "go").touch()
    (folder,) = {end(other)[-1] for other in others}
    assert python(folder, "import slow_of_the_test as s; print(s.TWO)") == "2.0"


# ------------------------------------------------------------------------- with a server


def lines_of(server: EmbeddedServer, batch: str) -> list[str]:
    with SyncTransport(server.url, token=server.token) as transport:
        request = v1.StreamLogsRequest(trialbatch_name=batch, follow=True)
        with LogServiceClientSync(transport).stream_logs(request) as stream:
            return [line.text for answer in stream for line in answer.lines]


def test_workers_share_what_is_installed(
    controller: aiauto.AIAutoController, server: EmbeddedServer, study_name: str, tmp_path: Path
) -> None:
    def objective(trial: optuna.Trial) -> float:
        import one_for_workers  # type: ignore[import-not-found] # pyright: ignore[reportMissingImports]
        import two_for_workers  # type: ignore[import-not-found] # pyright: ignore[reportMissingImports]

        file: Any = two_for_workers.__file__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        trial.set_user_attr("file", file)
        time.sleep(0.2)  # so that every worker gets some
        return float(one_for_workers.ONE + two_for_workers.TWO)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    study = controller.create_study(study_name)
    file = tmp_path / "requirements.txt"
    file.write_text(
        f"# of the test\n{wheel(tmp_path, 'one_for_workers', 'ONE = 1')}\n-r more.txt\n"
    )
    (tmp_path / "more.txt").write_text(wheel(tmp_path, "two_for_workers", "TWO = 2"))
    batch = study.optimize(
        objective, 12, 4, requirements_file=str(file), wait_option=ALL, wait_timeout=100
    )
    trials = study.get_study().trials
    assert [trial.value for trial in trials] == [3.0] * 12
    assert len({trial.user_attrs["pod_name"] for trial in trials}) > 1
    assert len({trial.user_attrs["file"] for trial in trials}) == 1
    installing = [line for line in lines_of(server, batch) if line.startswith("Installing")]
    assert len(installing) == 1


def test_requirements_that_can_not_be_installed_fail_the_batch_at_once(
    controller: aiauto.AIAutoController, server: EmbeddedServer, study_name: str, tmp_path: Path
) -> None:
    study = controller.create_study(study_name)
    requirement = f"nothing @ {(tmp_path / 'nothing-1.0-py3-none-any.whl').as_uri()}"
    with pytest.raises(aiauto.TrialBatchFailedError, match=r"can't be installed") as caught:
        study.optimize(
            lambda _: 1.0,
            20,
            2,
            requirements_list=[requirement],
            wait_option=ALL,
            wait_timeout=60,
        )
    assert "nothing-1.0-py3-none-any.whl" in str(caught.value)
    status = study.get_status()
    assert status["count_failed"] == status["count_total"] == 20
    # No trial was spent on it, and the log says the same.
    assert study.get_study().trials == []
    log = "\n".join(lines_of(server, caught.value.trialbatch_name))
    assert "The requirements of the objective can't be installed" in log
    assert "nothing-1.0-py3-none-any.whl" in log


def test_another_python_fails_the_batch_before_a_trial(
    controller: aiauto.AIAutoController, study_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = controller.create_study(study_name)
    monkeypatch.setattr("aiauto.objective.platform.python_version", lambda: "3.4.10")
    with pytest.raises(aiauto.TrialBatchFailedError, match=r"sent from Python 3\.4\.10"):
        study.optimize(lambda _: 1.0, 5, 2, wait_option=ALL, wait_timeout=60)
    assert study.get_status()["count_failed"] == 5
    assert study.trials == []


def test_packages_that_do_not_fit_fail_the_batch_before_a_trial(
    controller: aiauto.AIAutoController, study_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def others(modules: set[str]) -> dict[str, str]:
        return {"optuna": "1.2.3"}

    monkeypatch.setattr("aiauto.versions.installed", others)
    study = controller.create_study(study_name)
    with pytest.raises(aiauto.TrialBatchFailedError, match=r"optuna 1\.2\.3 was sent"):
        study.optimize(lambda _: 1.0, 5, 2, wait_option=ALL, wait_timeout=60)
    assert study.get_study().trials == []
