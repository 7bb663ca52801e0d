"""Who may do what: bearer tokens, and the rules of a Role where a token has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.kubernetes.api.errors import StatusError
from tests.kubernetes.api.kinds import items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kubernetes.api.addresses import Address
    from tests.kubernetes.api.kinds import Object


@dataclass(frozen=True)
class Caller:
    """Whoever has a token.

    Attributes:
        user: Name that messages give them.
        rules: What they may do in their namespace, as the `rules` of a Role; None for everything.
        namespace: Where they may; "" for everywhere.
    """

    user: str
    rules: Sequence[Object] | None = None
    namespace: str = ""

    def must_be_allowed(self, address: Address, verb: str) -> None:
        """Let them, or not.

        Args:
            address: What they do it to.
            verb: What they do, such as "list".

        Raises:
            StatusError: They may not.
        """
        if self.rules is None:
            return
        inside = not self.namespace or address.namespace == self.namespace
        if inside and any(_allows(rule, address, verb) for rule in self.rules):
            return
        kind = address.kind
        resource = "/".join(filter(None, (kind.plural, address.subresource)))
        where = (
            f' in the namespace "{address.namespace}"'
            if address.namespace
            else (" at the cluster scope")
        )
        qualified = f"{kind.resource} " + (f'"{address.name}" ' if address.name else "")
        message = (
            f'{qualified}is forbidden: User "{self.user}" cannot {verb} resource "{resource}" in '
            f'API group "{kind.group}"{where}'
        )
        details = {"name": address.name, "group": kind.group, "kind": kind.plural}
        given = {key: value for key, value in details.items() if value}
        raise StatusError(403, "Forbidden", message, details=given)


def _allows(rule: Object, address: Address, verb: str) -> bool:
    resource = "/".join(filter(None, (address.kind.plural, address.subresource)))
    names: list[str] = items(rule, "resourceNames")
    return (
        (verb in rule["verbs"] or "*" in rule["verbs"])
        and (address.kind.group in rule["apiGroups"] or "*" in rule["apiGroups"])
        and (resource in rule["resources"] or "*" in rule["resources"])
        and (not names or address.name in names)
    )
