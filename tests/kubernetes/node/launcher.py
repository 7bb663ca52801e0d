"""Becomes a container: a root of its own over this machine's, the volumes, the user, the program.

It has namespaces of its own for mounts, processes and the host's name. The node's Python runs it,
without packages. What it mounts goes with it, and this machine's files stay as they are: all that a
container writes goes into memory, unless it writes into a volume.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

_READ_ONLY: Final = 1
_REMOUNT: Final = 32
_BIND: Final = 4096
_RECURSIVE: Final = 16384
_PRIVATE: Final = 1 << 18
_PARENT_DEATH_SIGNAL: Final = 1
_NO_NEW_PRIVILEGES: Final = 38
# For mounts, the host's name, communication between processes, and processes.
_NAMESPACES: Final = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
# What the program starts with can't be found, or not be run: as runc says it.
_START_ERROR: Final = 128
_NOT_FOUND: Final = "executable file not found in $PATH"

_libc = ctypes.CDLL(None, use_errno=True)


class LaunchError(Exception):
    """The container can't be started; says why."""


def _mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    done: int = _libc.mount(
        source.encode(),
        str(target).encode(),
        kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )
    if done != 0:
        code = ctypes.get_errno()
        raise LaunchError(f"mount {source} on {target}: {os.strerror(code)}")


def _bind(source: str, target: Path, *, read_only: bool = False) -> None:
    _mount(source, target, "", _BIND | _RECURSIVE)
    if read_only:
        _mount(source, target, "", _BIND | _REMOUNT | _READ_ONLY)


def _overlay(lower: str, target: Path, layers: Path) -> None:
    """Show a folder at another place, where it may be written over."""
    upper, work = layers / "upper", layers / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _mount("overlay", target, "overlay", 0, options)


def _inside(root: Path, path: str) -> Path:
    """Where a path of the container is, whatever links there are in it."""
    found = root
    for part in Path(path).parts[1:]:
        step = found / part
        for _ in range(40):
            if not step.is_symlink():
                break
            link = step.readlink()
            step = root / str(link).lstrip("/") if link.is_absolute() else found / link
        found = step
    return found


def build_root(spec: dict[str, Any]) -> Path:
    """Mount all that the container sees, and give where."""
    _mount("none", Path("/"), "", _RECURSIVE | _PRIVATE)
    base = Path(spec["scratch"])
    _mount("tmpfs", base, "tmpfs", 0, "mode=755")
    root = base / "root"
    root.mkdir()
    _overlay("/", root, base / "of-root")
    for name in ("proc", "sys", "dev", "tmp"):
        (root / name).mkdir(exist_ok=True)
    _mount("proc", root / "proc", "proc")
    _bind("/sys", root / "sys", read_only=True)
    _mount("tmpfs", root / "tmp", "tmpfs", 0, "mode=1777")
    _devices(root / "dev")
    if spec["prefix"]:
        image = root / spec["image_folder"].lstrip("/")
        image.mkdir(parents=True, exist_ok=True)
        _overlay(spec["prefix"], image, base / "of-image")
        _let_in(root, Path(spec["prefix"]))
    for mount in spec["mounts"]:
        target = _inside(root, mount["target"])
        if Path(mount["source"]).is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        _bind(mount["source"], target, read_only=mount["read_only"])
    _inside(root, spec["directory"]).mkdir(parents=True, exist_ok=True)
    if spec["read_only_root"]:
        mounted = {mount["target"].rstrip("/") for mount in spec["mounts"]}
        for place in (root, *([] if "/tmp" in mounted else [root / "tmp"])):  # noqa: S108
            _mount("none", place, "", _BIND | _REMOUNT | _READ_ONLY)
    return root


def _devices(folder: Path) -> None:
    _mount("tmpfs", folder, "tmpfs", 0, "mode=755")
    for name in _DEVICES:
        (folder / name).touch()
        _bind(f"/dev/{name}", folder / name)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        (folder / name).symlink_to(f"/proc/self/fd{target}")
    (folder / "shm").mkdir()
    # As small as in every container that does not ask for more.
    _mount("tmpfs", folder / "shm", "tmpfs", 0, "mode=1777,size=64m")


def _let_in(root: Path, prefix: Path) -> None:
    """Let every user come to an image's Python, as in an image: here it may be root's own."""
    for program in ((prefix / "bin/python3").resolve(), prefix.resolve()):
        for folder in program.parents:
            place = root / str(folder).lstrip("/")
            if place.is_dir() and not place.stat().st_mode & 0o001:
                place.chmod(place.stat().st_mode | 0o055)


def become(spec: dict[str, Any], root: Path) -> None:
    """Leave this machine's root and user behind."""
    name = spec["hostname"].encode()
    if _libc.sethostname(name, len(name)) != 0:
        raise LaunchError("sethostname failed")
    os.chroot(root)
    os.chdir(spec["directory"])
    os.umask(0o022)
    os.setgroups(spec["groups"])
    os.setgid(spec["group"])
    os.setuid(spec["user"])
    if spec["no_new_privileges"]:
        _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _die_with_parent() -> None:
    _libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def run(spec: dict[str, Any]) -> NoReturn:
    """Become the container, in its namespaces."""
    _die_with_parent()
    # Is closed, and so tells the node, where the program starts.
    with os.fdopen(int(sys.argv[2]), "w", encoding="utf-8") as told:
        try:
            become(spec, build_root(spec))
            # Whoever becomes another user is forgotten there.
            _die_with_parent()
            os.execvpe(spec["command"][0], spec["command"], spec["environment"])  # noqa: S606
        except FileNotFoundError:
            named = spec["command"][0]
            missing = "no such file or directory"
            problem = f"stat {named}: {missing}" if "/" in named else _NOT_FOUND
            told.write(f'exec: "{named}": {problem}')
        except (LaunchError, OSError) as error:
            told.write(str(error))
    os._exit(_START_ERROR)


def main() -> None:
    """Read what the container is to be from a file; run it, and end as it does."""
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.set_inheritable(int(sys.argv[2]), False)  # noqa: FBT003
    if _libc.unshare(_NAMESPACES) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    # Processes have their namespace from the next one on.
    child = os.fork()
    if child == 0:
        run(spec)
    os.close(int(sys.argv[2]))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(128 - code if code < 0 else code)


if __name__ == "__main__":
    main()
