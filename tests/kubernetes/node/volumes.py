"""A Pod's volumes as folders of this machine."""

from __future__ import annotations

import base64
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.kubernetes.api import quantities
from tests.kubernetes.api.kinds import items, part
from tests.kubernetes.node.environment import ConfigError, expand

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.kubernetes.api.kinds import Object
    from tests.kubernetes.node.references import References


@dataclass(frozen=True)
class Volume:
    """A volume.

    Attributes:
        folder: Where its files are.
        read_only: Whether nobody may write there.
        tmpfs: Options with which memory is mounted there; "" where it is on the disk.
    """

    folder: Path
    read_only: bool = False
    tmpfs: str = ""


def prepare(pod: Object, references: References, folder: Path, claims: Path) -> dict[str, Volume]:
    """Make the volumes of a Pod.

    Args:
        pod: The Pod.
        references: What it refers to.
        folder: Where its own volumes go.
        claims: Where claims of storage are.

    Returns:
        The volumes by name.

    Raises:
        ConfigError: One can't be had.
    """
    group: int | None = part(pod["spec"], "securityContext").get("fsGroup")
    return {
        volume["name"]: _volume(volume, pod, references, folder / volume["name"], claims, group)
        for volume in items(pod["spec"], "volumes")
    }


def _volume(
    volume: Object,
    pod: Object,
    references: References,
    folder: Path,
    claims: Path,
    group: int | None,
) -> Volume:
    if (empty := volume.get("emptyDir")) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        _give(folder, group)
        if empty.get("medium") != "Memory":
            return Volume(folder)
        size = quantities.parse(empty["sizeLimit"]) if empty.get("sizeLimit") else None
        options = ["mode=2777", f"gid={group}"] if group is not None else ["mode=0777"]
        options += [] if size is None else [f"size={int(size)}"]
        return Volume(folder, tmpfs=",".join(options))
    for kind, field in (("secret", "secretName"), ("configMap", "name")):
        source: Object | None = volume.get(kind)
        if source is not None:
            data = references.data(kind, source[field], optional=bool(source.get("optional")))
            _write(folder, data or {}, source, group, encoded=kind == "secret")
            return Volume(folder, read_only=True)
    claim: Object | None = volume.get("persistentVolumeClaim")
    if claim is not None:
        place = claims / pod["metadata"]["namespace"] / claim["claimName"]
        place.mkdir(parents=True, exist_ok=True)
        _give(place, group)
        return Volume(place, read_only=bool(claim.get("readOnly")))
    known = sorted(set(volume) - {"name"})
    raise ConfigError(f"this node of the tests has no volumes of the type {known}")


def _give(folder: Path, group: int | None) -> None:
    """Let a Pod's group write into a volume, as the real node does."""
    if group is not None:
        os.chown(folder, -1, group)
        folder.chmod(folder.stat().st_mode | 0o2770)


def _write(
    folder: Path, data: Mapping[str, str], source: Object, group: int | None, *, encoded: bool
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    items: list[Object] = source.get("items") or [{"key": name, "path": name} for name in data]
    for item in items:
        if item["key"] not in data:
            raise ConfigError(f"references non-existent secret key: {item['key']}")
        value = data[item["key"]]
        path = folder / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(value) if encoded else value.encode())
        mode: int = item.get("mode") or source["defaultMode"]
        if group is not None:
            os.chown(path, -1, group)
            mode |= 0o440
        path.chmod(mode)


def mounts(
    container: Object, volumes: Mapping[str, Volume], variables: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Where a container has which volume, the outer ones first."""
    found: list[dict[str, Any]] = []
    for mount in items(container, "volumeMounts"):
        volume = volumes[mount["name"]]
        part = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables)
        source = volume.folder
        if part:
            # In memory it is made where the memory is: see the sandbox.
            source = volume.folder / part
            if not volume.tmpfs and not source.exists():
                source.mkdir(parents=True, mode=volume.folder.stat().st_mode & 0o7777)
                os.chown(source, -1, volume.folder.stat().st_gid)
                source.chmod(volume.folder.stat().st_mode & 0o7777)
        found.append(
            {
                "source": str(source),
                "target": mount["mountPath"],
                "read_only": bool(mount.get("readOnly")) or volume.read_only,
            }
        )
    return sorted(found, key=lambda one: one["target"].count("/"))
