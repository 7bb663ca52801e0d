"""What those who run the cluster decide: a YAML file, checked before the server starts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import yaml

from aiauto.config import checked_url
from aiauto.errors import ArgumentValueError, FailedPreconditionError
from aiauto.gpu_models import is_meant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Json: TypeAlias = "dict[str, Any]"
"""A part of a manifest, as Kubernetes documents it."""

# Whom images have no name for; the server's own image runs as the same, so that files are theirs.
DEFAULT_USER: Final = 65532
FIRST_USER, LAST_USER = 1, 2**31 - 1


@dataclass(frozen=True)
class GpuFlavor:
    """A kind of GPU that nodes of the cluster have.

    Attributes:
        name: What `gpu_model` calls it.
        node_labels: Labels of the nodes that have it.
        resource: Name of the resource that a worker asks for.
        tolerations: What such nodes are tainted with, and workers stand.
    """

    name: str
    node_labels: Mapping[str, str] = field(default_factory=dict[str, str])
    resource: str = "nvidia.com/gpu"
    tolerations: tuple[Json, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """How workers are to run on the cluster.

    Attributes:
        namespace: Where Jobs are made; empty for where the server itself runs.
        worker_url: Address of the server as Pods reach it; empty for the one that users are told.
        gpu_flavors: The kinds of GPU that there are.
        shared_cache_claim: The PersistentVolumeClaim that the server keeps its data folder on, if
            Pods can mount it too (ReadWriteMany): its shared caches are then theirs. Empty: what
            workers find as their shared cache is a folder of their own.
        shared_cache_path: Where in that claim the server's data folder is.
        user: Which user workers run as.
        node_selector: Labels that the nodes of all workers must have.
        tolerations: What nodes are tainted with, and workers stand.
        priority_class: Priority class of workers; empty for the cluster's default.
        queue: Local queue of Kueue that decides when a batch starts; empty for none.
        image_pull_secrets: Secrets of the namespace by which images are pulled, besides those of
            the batch.
        environment: Variables for every worker, such as the address of a package index.
        ttl_after_finished: Seconds that the Job of a batch stays to be looked at after its end.
        start_timeout: Seconds after which a batch fails whose image can't be had or whose Pods
            can't be made; None for never. Waiting for a place on a node is no such thing.
    """

    namespace: str = ""
    worker_url: str = ""
    gpu_flavors: tuple[GpuFlavor, ...] = ()
    shared_cache_claim: str = ""
    shared_cache_path: str = ""
    user: int = DEFAULT_USER
    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    tolerations: tuple[Json, ...] = ()
    priority_class: str = ""
    queue: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    ttl_after_finished: int = 600
    start_timeout: float | None = 60.0

    def flavor(self, share: str) -> GpuFlavor | None:
        """The kind of GPU that a key of `gpu_model` means; None for the empty one, any kind.

        Raises:
            FailedPreconditionError: There is none of that name.
        """
        if not share:
            return None
        for flavor in self.gpu_flavors:
            if is_meant(share, flavor.name):
                return flavor
        names = ", ".join(flavor.name for flavor in self.gpu_flavors) or "none"
        raise FailedPreconditionError(
            f"gpu_model {share}: this cluster has no such GPUs. It has {names}."
        )


def load(path: Path | None) -> Configuration:
    """Read a configuration.

    Args:
        path: A YAML file with the fields of `Configuration`; None for one without any.

    Returns:
        The configuration.

    Raises:
        ArgumentValueError: It can't be read, or says what can't be.
    """
    if path is None:
        return Configuration()
    try:
        content: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _refused(path, f"it can't be read: {error}") from error
    reader = _Reader(path, Configuration, {} if content is None else content, "")
    return Configuration(
        namespace=reader.text("namespace"),
        worker_url=reader.url("worker_url"),
        gpu_flavors=tuple(reader.flavors()),
        shared_cache_claim=reader.text("shared_cache_claim"),
        shared_cache_path=reader.text("shared_cache_path"),
        user=reader.number("user", FIRST_USER, LAST_USER),
        node_selector=reader.texts_by_name("node_selector"),
        tolerations=tuple(reader.objects("tolerations")),
        priority_class=reader.text("priority_class"),
        queue=reader.text("queue"),
        image_pull_secrets=tuple(reader.texts("image_pull_secrets")),
        environment=reader.texts_by_name("environment"),
        ttl_after_finished=reader.number("ttl_after_finished", 0, 10**9),
        start_timeout=reader.seconds("start_timeout"),
    )


class _Reader:
    """Reads the fields of one mapping, and says which one is wrong."""

    def __init__(
        self,
        path: Path,
        kind: type[Configuration | GpuFlavor],
        content: object,
        where: str,
    ) -> None:
        self._path, self._where = path, where
        if not isinstance(content, dict):
            raise _refused(path, f"{where or 'it'} must be a mapping")
        self._content = cast("dict[object, object]", content)
        self._defaults = {one.name: one for one in fields(kind)}
        for name in self._content:
            if name not in self._defaults:
                known = ", ".join(self._defaults)
                raise _refused(path, f"{where}{name!r} is not known; there are {known}")

    def text(self, name: str) -> str:
        value = self._content.get(name)
        if value is None:
            return str(self._default(name))
        return self._text(name, value)

    def url(self, name: str) -> str:
        url = self.text(name)
        return url and checked_url(url, f"{name} in {self._path}")

    def number(self, name: str, least: int, most: int) -> int:
        value = self._content.get(name, self._default(name))
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._wrong(name, value, f"a whole number from {least} to {most}")
        return value

    def seconds(self, name: str) -> float | None:
        value = self._content.get(name, self._default(name))
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise self._wrong(name, value, "a positive number of seconds, or null for never")
        return float(value)

    def texts(self, name: str) -> list[str]:
        return [self._text(name, one) for one in self._list(name)]

    def texts_by_name(self, name: str) -> dict[str, str]:
        value = self._content.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(name, value, "a mapping of texts")
        given = cast("dict[object, object]", value)
        return {self._text(name, key): self._text(name, one) for key, one in given.items()}

    def objects(self, name: str) -> list[Json]:
        for one in self._list(name):
            if not isinstance(one, dict):
                raise self._wrong(name, one, "a list of mappings")
        return cast("list[Json]", self._list(name))

    def flavors(self) -> list[GpuFlavor]:
        flavors: list[GpuFlavor] = []
        for index, content in enumerate(self._list("gpu_flavors")):
            reader = _Reader(self._path, GpuFlavor, content, f"gpu_flavors[{index}].")
            name = reader.text("name") if "name" in reader._content else ""
            if not name or any(name == other.name for other in flavors):
                raise reader._wrong("name", name, "a name that no other flavor has")
            flavors.append(
                GpuFlavor(
                    name=name,
                    node_labels=reader.texts_by_name("node_labels"),
                    resource=reader.text("resource"),
                    tolerations=tuple(reader.objects("tolerations")),
                )
            )
        return flavors

    def _list(self, name: str) -> list[object]:
        value = self._content.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, value, "a list")
        return cast("list[object]", value)

    def _text(self, name: str, value: object) -> str:
        # YAML reads `true` and 1 where a label is "true" and "1".
        if not isinstance(value, str):
            raise self._wrong(name, value, 'a text; put it into quotes ("...")')
        return value

    def _default(self, name: str) -> object:
        return self._defaults[name].default

    def _wrong(self, name: str, value: object, expected: str) -> ArgumentValueError:
        return _refused(self._path, f"{self._where}{name} is {value!r}: it must be {expected}")


def _refused(path: Path, why: str) -> ArgumentValueError:
    message = f"The configuration for Kubernetes, {path}, can't be used: {why}."
    return ArgumentValueError(message, argument="kubernetes_config")
