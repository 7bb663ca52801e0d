"""Versions of the packages that an objective uses: the sender's and the worker's must fit.

The rule: the first number must be equal, before 1.0 the second as well, because that is where
packages change what they do. Versions that are dates say nothing of the kind and are not compared,
nor are packages that the requirements name: there the user has decided.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import sys
from typing import TYPE_CHECKING

from aiauto.local_modules import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["differences", "installed", "mismatches"]

# What every objective meets on the worker.
ALWAYS = ("aiauto-client", "cloudpickle", "optuna")
# What a payload of ours holds says it itself.
NOT_COMPARED = frozenset({"aiauto-client"})
# The first number of a version that is a date.
FIRST_YEAR = 1900
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SEPARATORS = re.compile(r"[-_.]+")


def installed(modules: Iterable[str]) -> dict[str, str]:
    """Find the packages that modules come from.

    Args:
        modules: Names of modules.

    Returns:
        Versions by the name of the distribution, as far as they are installed here.
    """
    names: set[str] = set(ALWAYS)
    for module in {name.partition(".")[0] for name in modules}:
        if module and module not in sys.stdlib_module_names and module not in OURS:
            names.update(_distributions(module))
    versions = {name: _version(name) for name in sorted(names)}
    return {name: version for name, version in versions.items() if version}


def mismatches(sent: Mapping[str, str], requirements: str) -> list[str]:
    """Compare the sender's packages with those of this worker.

    Args:
        sent: The sender's versions by package.
        requirements: What was installed for the objective, in the format of requirements.txt.

    Returns:
        A few words for each package that does not fit.
    """
    chosen = {
        _normal(match[0]) for line in requirements.splitlines() if (match := NAME.match(line))
    }
    found: list[str] = []
    for package, version in sorted(sent.items()):
        here = _version(package)
        # What is missing is told by whoever imports it, and perhaps nobody does.
        if here is None or package in NOT_COMPARED or _normal(package) in chosen:
            continue
        if _series(version) != _series(here):
            found.append(f"{package} {version} was sent and {here} is here")
    return found


def differences(sent: Mapping[str, str]) -> list[str]:
    """Tell all that differs, fitting or not: for an error that something else has caused."""
    return [
        f"{package} {version} there, {_version(package) or 'none'} here"
        for package, version in sorted(sent.items())
        if _version(package) != version
    ]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.lru_cache(maxsize=1024)
def _distributions(module: str) -> tuple[str, ...]:
    if _version(module) is not None:
        return (module,)
    # Reads the list of files of every package: only for those named in another way.
    return tuple(importlib.metadata.packages_distributions().get(module, ()))


def _normal(name: str) -> str:
    return SEPARATORS.sub("-", name).lower()


def _series(version: str) -> tuple[str, ...]:
    """The part of a version that must be equal."""
    numbers = version.partition("!")[2] or version
    first, _, rest = numbers.partition(".")
    if first.isdecimal() and int(first) >= FIRST_YEAR:
        return ()
    return (first, rest.partition(".")[0]) if first == "0" else (first,)
