"""Secrets and configuration that a Pod refers to, as the API has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes.api.kinds import CONFIG_MAP, SECRET, Kind, Object, items, part
from tests.kubernetes.node.environment import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.client import Client

_KINDS: Final = {
    "secretRef": SECRET,
    "secretKeyRef": SECRET,
    "secret": SECRET,
    "configMapRef": CONFIG_MAP,
    "configMapKeyRef": CONFIG_MAP,
    "configMap": CONFIG_MAP,
}


class References:
    """All that one Pod refers to."""

    def __init__(self, pod: Object) -> None:
        self._pod = pod
        self._found: dict[tuple[Kind, str], Object | None] = {}

    async def fetch(self, client: Client) -> None:
        """Have them as they are now."""
        namespace = self._pod["metadata"]["namespace"]
        for kind, name in set(self._names()):
            try:
                self._found[kind, name] = await client.get(kind, namespace, name)
            except ApiException as error:
                if error.status != 404:
                    raise
                self._found[kind, name] = None

    def _names(self) -> Iterator[tuple[Kind, str]]:
        spec = self._pod["spec"]
        for one in items(spec, "imagePullSecrets"):
            yield SECRET, one["name"]
        for volume in items(spec, "volumes"):
            if volume.get("secret") is not None:
                yield SECRET, volume["secret"]["secretName"]
            if volume.get("configMap") is not None:
                yield CONFIG_MAP, volume["configMap"]["name"]
        for container in (*spec["containers"], *items(spec, "initContainers")):
            for source in (
                *items(container, "envFrom"),
                *(part(one, "valueFrom") for one in items(container, "env")),
            ):
                for field, kind in _KINDS.items():
                    if source.get(field) is not None:
                        yield kind, source[field]["name"]

    def data(self, field: str, name: str, *, optional: bool) -> dict[str, str] | None:
        """What is in a Secret or a ConfigMap; None where it may be missing, and is.

        Args:
            field: The field that refers to it, such as `secretKeyRef`.
            name: Its name.
            optional: Whether it may be missing.

        Raises:
            ConfigError: It is missing.
        """
        kind = _KINDS[field]
        found = self._found.get((kind, name))
        if found is not None:
            return part(found, "data")
        if optional:
            return None
        raise ConfigError(f'{kind.plural[:-1]} "{name}" not found')

    def pull_secrets(self) -> list[Object]:
        """The Secrets with which images are pulled; what is missing counts as none."""
        named = [one["name"] for one in items(self._pod["spec"], "imagePullSecrets")]
        found = [self._found.get((SECRET, name)) for name in named]
        return [one for one in found if one is not None]
