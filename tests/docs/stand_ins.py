"""Programs that pages name and a test can't have: a cluster's, a container engine's, and `sudo`.

`install` puts this file under each of their names into a folder for the PATH. Each judges the words
that it is given as far as it can: files have to be there, and what is asked about has to be in the
manifests of deploy/. Where the real program is on this machine, it has to know the command with all
its options. What would run in the Pod of the server is run, here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
# Where `make control-plane` puts what it builds.
BUILT = ROOT / ".kubernetes" / "bin"
BASE = ROOT / "deploy" / "kubernetes" / "base"
NAMESPACE = "aiauto"
IMAGE = "aiauto"
POD = "pod/aiauto-server-0"
USED = "DOCS_STAND_INS_USED"


def install(folder: Path) -> None:
    """Put the programs into a folder."""
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(
            f"#!{sys.executable}\n"
            f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"from stand_ins import main\nmain({name!r})\n",
            encoding="utf-8",
        )
        program.chmod(0o755)


def main(name: str) -> None:
    """Be one of the programs."""
    with Path(os.environ[USED]).open("a", encoding="utf-8") as used:
        used.write(f"{name}\n")
    PROGRAMS[name](sys.argv[1:])
    if name not in {"make", "sudo"}:
        ask_the_real_one(name, sys.argv[1:])


def ask_the_real_one(name: str, words: list[str]) -> None:
    """See that the program knows the command and its options, where it is here."""
    own = str(Path(sys.argv[0]).parent)
    folders = [one for one in os.environ["PATH"].split(os.pathsep) if one != own]
    program = shutil.which(name, path=os.pathsep.join([*folders, str(BUILT)]))
    if program is None:
        return
    ours = words[: words.index("--")] if "--" in words else words
    # Options before it are read first, and a command that there is not has no usage of its own.
    done = subprocess.run([program, *ours, "--help"], capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    command = rf"^\s*{name} {re.escape(command_of(words))}\b|^Usage: +{name} "
    if done.returncode or not re.search(command, told, re.MULTILINE):
        fail(f"{program} does not know: {shlex.join([name, *ours])}\n{told}")


def command_of(words: list[str]) -> str:
    """The command among the words: the first that is no option, nor an option's value."""
    return words[2] if words[0] == "--namespace" else words[0]


def kind(words: list[str]) -> None:
    """`kind`."""
    match words:
        case ["create", "cluster"] | ["delete", "cluster"]:
            pass
        case ["load", "docker-image", image]:
            expect(image == IMAGE, f"the manifests run the image {IMAGE}, not {image}")
        case _:
            fail(f"kind {shlex.join(words)}: say in {__file__} what that does")


def docker(words: list[str]) -> None:
    """`docker`."""
    match words:
        case ["build", "--file", file, "--tag", image, folder]:
            expect(Path(file).is_file(), f"there is no {file}")
            expect((Path(folder) / "deploy").is_dir(), f"{folder} is no checkout")
            expect(image == IMAGE, f"the manifests run the image {IMAGE}, not {image}")
        case _:
            fail(f"docker {shlex.join(words)}: say in {__file__} what that does")


def helm(words: list[str]) -> None:
    """`helm`."""
    match words:
        case ["install", name, chart, "--namespace", namespace, "--create-namespace"]:
            told = yaml.safe_load((Path(chart) / "Chart.yaml").read_text(encoding="utf-8"))
            expect(told["name"] == name, f"the chart is {told['name']}")
            expect(namespace == NAMESPACE, f"the namespace is {NAMESPACE}")
        case _:
            fail(f"helm {shlex.join(words)}: say in {__file__} what that does")


def kubectl(words: list[str]) -> None:
    """`kubectl`, of a cluster with what is in deploy/kubernetes/base."""
    if words[:1] == ["--namespace"]:
        expect(words[1] == NAMESPACE, f"the namespace is {NAMESPACE}, not {words[1]}")
        words = words[2:]
    match words:
        case ["apply", "--kustomize", folder]:
            for file in secrets(Path(folder)).values():
                variables(Path(folder) / file)
        case ["rollout", "status", deployment]:
            found(deployment)
        case ["port-forward", service, port]:
            ports = [one["port"] for one in found(service)["spec"]["ports"]]
            expect(int(port) in ports, f"{service} has no port {port}")
        case ["get", "jobs,pods"]:
            pass
        case ["get", "pods", "--selector", selector, "--output", "name"]:
            name, _, value = selector.partition("=")
            labels = found("deployment/aiauto-server")["spec"]["template"]["metadata"]["labels"]
            expect(labels.get(name) == value, f"the server's Pod has only {labels}")
            print(POD)
        case ["create", "secret", "generic", name, "--from-env-file", file]:
            same = secrets(BASE.parent / "overlays" / "postgresql")
            expect(same.get(name) == file, f"the Secrets are {same}")
            variables(Path(file))
        case ["exec", target, "--", *command]:
            expect(target == POD or bool(found(target)), f"there is no {target}")
            in_pod(command)
        case _:
            fail(f"kubectl {shlex.join(words)}: say in {__file__} what that does")


def found(name: str) -> dict[str, Any]:
    """An object of the manifests, by its kind and name."""
    of, _, name = name.partition("/")
    texts = [file.read_text(encoding="utf-8") for file in BASE.glob("*.yaml")]
    manifests: list[dict[str, Any]] = [one for text in texts for one in yaml.safe_load_all(text)]
    for one in manifests:
        if (one.get("kind", "").lower(), one.get("metadata", {}).get("name")) == (of, name):
            return one
    return fail(f"there is no {of} {name} in {BASE}")


def secrets(overlay: Path) -> dict[str, str]:
    """The Secrets that an overlay makes, and of which files."""
    told = yaml.safe_load((overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    return {one["name"]: one["envs"][0] for one in told.get("secretGenerator", ())}


def variables(file: Path) -> None:
    """See that a file has variables, each with a value."""
    for line in file.read_text(encoding="utf-8").splitlines():
        expect(bool(re.fullmatch(r"[A-Z_]+=\S+", line)), f"{file}: {line}")


def in_pod(command: list[str]) -> None:
    """Run what would run beside the server. The Pod has folders of its own."""
    data = os.environ["AIAUTO_DATA_DIR"]
    pod = Path(data).with_name("pod")
    pod.mkdir(exist_ok=True)
    folders = {"/var/lib/aiauto": data, "/tmp": str(pod)}  # noqa: S108 - the Pod's
    there = re.compile(f"^({'|'.join(folders)})(?=/)")
    command = [there.sub(lambda found: folders[found[1]], word) for word in command]
    done = subprocess.run(command, check=False)
    expect(done.returncode == 0, shlex.join(command))


def make(words: list[str]) -> None:
    """`make`: the target has to be one of those that `make help` lists."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (target,) = words
    expect(bool(re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE)), f"no target {target}")


def sudo(words: list[str]) -> None:
    """`sudo`."""
    os.execvp(words[0], words)  # noqa: S606 - that is what it does


def expect(condition: bool, told: str) -> None:  # noqa: FBT001 - as assert has it
    """End the program where something is not so."""
    if not condition:
        fail(told)


def fail(told: str) -> NoReturn:
    """End the program."""
    sys.exit(told)


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "docker": docker,
    "helm": helm,
    "kind": kind,
    "kubectl": kubectl,
    "make": make,
    "sudo": sudo,
}
