"""What happens to an object between a request and the store: names, versions, deletion."""

from __future__ import annotations

import copy
import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api import admission, defaults, validation
from tests.kubernetes.api.errors import bad_request, bad_value, conflict, forbidden, invalid
from tests.kubernetes.api.errors import required as required_value
from tests.kubernetes.api.kinds import (
    JOB,
    LEASE,
    NAMESPACE,
    POD,
    PRIORITY_CLASS,
    SERVICE_ACCOUNT,
    Kind,
    Object,
    items,
    part,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kubernetes.api.store import Store

# Without vowels, so that no suffix is a word.
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
# What the server alone writes into metadata, except for deletion's finalizers.
_KEPT: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
    "name",
    "generateName",
)
FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
ORPHANED_BY_DEFAULT: Final = (
    "child pods are preserved by default when jobs are deleted; set "
    "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
    "this warning"
)


def now(later: float = 0) -> str:
    """The time, as objects have it."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=later)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def suffix() -> str:
    """What makes a name that begins like others one of its own."""
    return "".join(random.choices(_LETTERS, k=5))


@dataclass(frozen=True)
class DeleteOptions:
    """How an object is to be deleted.

    Attributes:
        grace: Seconds that a Pod has to end; None for what it asks for itself.
        propagation: Background, Foreground or Orphan; None for the kind's default.
        uid: Delete it only if it has this uid.
        resource_version: Delete it only if it has this version.
    """

    grace: int | None = None
    propagation: str | None = None
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def read(cls, body: Object) -> DeleteOptions:
        """From a `DeleteOptions` object, or what a query says.

        Raises:
            StatusError: It asks for what is not.
        """
        grace, propagation = body.get("gracePeriodSeconds"), body.get("propagationPolicy")
        if propagation not in {None, "Background", "Foreground", "Orphan"}:
            raise bad_request(f'invalid propagationPolicy: "{propagation}"')
        wanted = part(body, "preconditions")
        return cls(
            None if grace is None else int(grace),
            propagation,
            wanted.get("uid"),
            wanted.get("resourceVersion"),
        )


class Registry:
    """Creates, changes and deletes objects as the API server does.

    Attributes:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def create(self, kind: Kind, namespace: str, sent: Object, *, dry: bool = False) -> Object:
        """Make an object.

        Args:
            kind: What it is.
            namespace: Where it goes; "" for kinds without namespaces.
            sent: The object as the client wrote it.
            dry: Check it only.

        Raises:
            StatusError: It can't be.
        """
        obj = copy.deepcopy(sent)
        metadata: Object = obj.setdefault("metadata", {})
        self._place(kind, namespace, metadata)
        name = _begin(kind, metadata)
        if "spec" in obj and kind not in {LEASE, NAMESPACE}:
            metadata["generation"] = 1
        if kind.has_status:
            obj.pop("status", None)
        defaults.apply(kind, obj)
        if kind is POD:
            admission.admit_pod(self.store, obj)
        if causes := validation.of_new(kind, obj):
            raise invalid(kind, name, causes)
        if dry:
            return obj
        made = self.store.add(kind, obj)
        if kind is NAMESPACE:
            account: Object = {"metadata": {"name": "default"}}
            self.create(SERVICE_ACCOUNT, name, account)
        return made

    def _place(self, kind: Kind, namespace: str, metadata: Object) -> None:
        if not kind.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.get("namespace") not in {None, "", namespace}:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        metadata["namespace"] = namespace
        if "deletionTimestamp" in self.store.get(NAMESPACE, "", namespace)["metadata"]:
            why = (
                f"unable to create new content in namespace {namespace} because it is being "
                "terminated"
            )
            raise forbidden(kind, metadata.get("name", ""), why)

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Callable[[Object], Object],
        *,
        subresource: str = "",
        dry: bool = False,
    ) -> Object:
        """Change an object.

        Args:
            kind: What it is.
            namespace: Where it is.
            name: Its name.
            change: Makes the new version of the present one, which it may change.
            subresource: "status" to change nothing but the status; "" to change all else.
            dry: Check it only.

        Raises:
            StatusError: There is no such object, it changed meanwhile, or it can't be so.
        """
        old = self.store.get(kind, namespace, name)
        sent = change(copy.deepcopy(old))
        metadata: Object = sent.setdefault("metadata", {})
        self._must_match(kind, old, metadata)
        if subresource == "status":
            new = {**old, "status": part(sent, "status")}
        else:
            new = sent
            if kind.has_status:
                new.pop("status", None)
                new.update({"status": old["status"]} if "status" in old else {})
            _keep_metadata(old["metadata"], metadata)
            defaults.apply(kind, new)
            if old.get("spec") != new.get("spec") and "generation" in metadata:
                metadata["generation"] += 1
        if causes := validation.of_changed(kind, old, new):
            raise invalid(kind, name, causes)
        if dry:
            return new
        if _is_to_go(new):
            return self.store.remove(kind, old)
        return self.store.replace(kind, old, new)

    @staticmethod
    def _must_match(kind: Kind, old: Object, metadata: Object) -> None:
        name, seen = old["metadata"]["name"], metadata.get("resourceVersion")
        if metadata.setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({name})"
            )
        if metadata.get("uid") not in {None, "", old["metadata"]["uid"]}:
            raise conflict(kind, name, _other_uid(metadata["uid"], old["metadata"]["uid"]))
        if not seen and kind in {LEASE, PRIORITY_CLASS}:
            cause = bad_value("metadata.resourceVersion", "", "must be specified for an update")
            raise invalid(kind, name, [cause])
        if seen and seen != old["metadata"]["resourceVersion"]:
            raise conflict(kind, name)
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]

    def delete(
        self, kind: Kind, namespace: str, name: str, options: DeleteOptions, *, dry: bool = False
    ) -> tuple[Object, bool]:
        """Delete an object, or begin to.

        Returns:
            The object, and whether it is gone already.

        Raises:
            StatusError: There is no such object, or it is another than the caller meant.
        """
        old = self.store.get(kind, namespace, name)
        metadata = dict(old["metadata"])
        _must_be(kind, metadata, options)
        finalizers: list[str] = list(items(metadata, "finalizers"))
        propagation = options.propagation or ("Orphan" if kind is JOB else "Background")
        wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(propagation)
        finalizers = [one for one in finalizers if one not in {FOREGROUND, ORPHAN}]
        finalizers += [wanted] if wanted else []
        grace = _grace(old, options.grace) if kind is POD else 0
        if dry:
            return old, not finalizers and not grace
        if not finalizers and not grace and kind is not NAMESPACE:
            return self.store.remove(kind, old), True
        before = metadata.get("deletionGracePeriodSeconds")
        if before is None or grace < before:
            metadata["deletionTimestamp"] = now(grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata and before is None:
                metadata["generation"] += 1
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]
        new = {**old, "metadata": metadata}
        if kind is NAMESPACE:
            new["status"] = {"phase": "Terminating"}
        return self.store.replace(kind, old, new), False


def _begin(kind: Kind, metadata: Object) -> str:
    """Give a new object its name, if it has none, and what only the server gives."""
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = f"{metadata['generateName'][:58]}{suffix()}"
    if not metadata.get("name"):
        cause = required_value("metadata.name", "name or generateName is required")
        raise invalid(kind, "", [cause])
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for written in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        metadata.pop(written, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now()
    return str(metadata["name"])


def _keep_metadata(old: Object, new: Object) -> None:
    """Whatever a client writes, what the server alone says stays."""
    for name in _KEPT:
        new.pop(name, None)
        if name in old:
            new[name] = old[name]
    if not new.get("finalizers"):
        new.pop("finalizers", None)


def _is_to_go(obj: Object) -> bool:
    """Whether nothing keeps an object that is being deleted."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not part(obj, "spec").get("finalizers")
    )


def _grace(pod: Object, wanted: int | None) -> int:
    """Seconds that a Pod has: none where nothing of it runs."""
    over = part(pod, "status").get("phase") in {"Succeeded", "Failed"}
    if over or not pod["spec"].get("nodeName"):
        return 0
    if wanted is None:
        wanted = int(pod["spec"]["terminationGracePeriodSeconds"])
    # A negative one means the shortest that is not "at once".
    return 1 if wanted < 0 else wanted


def _other_uid(wanted: str, have: str) -> str:
    return f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {have}"


def _must_be(kind: Kind, metadata: Object, options: DeleteOptions) -> None:
    name = metadata["name"]
    if options.uid is not None and options.uid != metadata["uid"]:
        raise conflict(kind, name, _other_uid(options.uid, metadata["uid"]))
    have = metadata["resourceVersion"]
    if options.resource_version is not None and options.resource_version != have:
        why = (
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {have}"
        )
        raise conflict(kind, name, why)
