"""Kubernetes' own schemas: the OpenAPI document that it publishes.

It is part of the Go module `k8s.io/kubernetes`. Go fetches it once, into a folder that git ignores.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import jsonschema
import pytest

from tests.kubernetes.api.kinds import is_list
from tests.kubernetes.api.quantities import PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = "v1.34.4"
FOLDER: Final = Path(__file__).parents[2] / ".kubernetes"
_DOCUMENT: Final = FOLDER / f"swagger-{VERSION}.json"
_DOWNLOAD_SECONDS: Final = 150
_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_KINDS: Final = "x-kubernetes-group-version-kind"
_RANGES: Final = {"int32": 2**31, "int64": 2**63}
_FORMATS: Final = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_time(value: object) -> bool:
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


@_FORMATS.checks("byte")
def _is_base64(value: object) -> bool:
    pattern = r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a manifest.

    Attributes:
        field: Path of the field, such as `spec.template.spec.containers[0].image`.
        kind: "unknown" for a field that there is not, "required" for one that is missing, "type"
            for a value that can't be.
        message: What is wrong, for people.
    """

    field: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Schemas:
    """Judges manifests strictly: each field must be known, and of the right type."""

    def __init__(self, document: dict[str, Any]) -> None:
        definitions: dict[str, Any] = document["definitions"]
        self._names = {
            (f"{one['group']}/{one['version']}".lstrip("/"), one["kind"]): name
            for name, definition in definitions.items()
            for one in definition.get(_KINDS, ())
        }
        self._definitions = {name: _strict(name, one) for name, one in definitions.items()}
        self._validators: dict[str, jsonschema.Draft4Validator] = {}

    def problems(self, manifest: dict[str, Any]) -> list[Problem]:
        """All that is wrong with a manifest; nothing where it is as Kubernetes wants it.

        Args:
            manifest: An object with its `apiVersion` and `kind`. A field that is null counts as
                one that is not there.
        """
        key = manifest.get("apiVersion", ""), manifest.get("kind", "")
        if key not in self._names:
            return [Problem("kind", "type", f"there is no {key[1]} in {key[0]}")]
        validator: Any = self._validator(self._names[key])
        given = _without_nulls(manifest)
        found: Iterator[jsonschema.ValidationError] = validator.iter_errors(given)
        return sorted(
            (problem for error in found for problem in _problems(error)),
            key=lambda problem: (problem.field, problem.message),
        )

    def _validator(self, name: str) -> jsonschema.Draft4Validator:
        if name not in self._validators:
            schema = {"$ref": f"#/definitions/{name}", "definitions": self._definitions}
            made = jsonschema.Draft4Validator(schema, format_checker=_FORMATS)
            self._validators[name] = made
        return self._validators[name]


def _strict(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The published schema, which a field that it does not list fails."""
    if name == _QUANTITY:
        return {"type": ["string", "number"], "pattern": PATTERN}
    if schema.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    strict: dict[str, Any] = {
        key: schema[key] for key in ("$ref", "type", "required", "enum", "format") if key in schema
    }
    if limit := _RANGES.get(strict.get("format", "")):
        strict |= {"minimum": -limit, "maximum": limit - 1}
    if "items" in schema:
        strict["items"] = _strict("", schema["items"])
    if "properties" in schema:
        properties: dict[str, Any] = schema["properties"]
        strict["properties"] = {key: _strict("", one) for key, one in properties.items()}
        strict["additionalProperties"] = False
    elif "additionalProperties" in schema:
        strict["additionalProperties"] = _strict("", schema["additionalProperties"])
    return strict


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: _without_nulls(one) for key, one in fields.items() if one is not None}
    if is_list(value):
        return [_without_nulls(one) for one in value]
    return value


def _problems(error: jsonschema.ValidationError) -> Iterator[Problem]:
    path = ""
    value: Any = error.validator_value
    instance: Any = error.instance
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if error.validator == "additionalProperties":
        schema: Any = error.schema
        for name in instance:
            if name not in schema["properties"]:
                field = f"{path}.{name}" if path else str(name)
                yield Problem(field, "unknown", f'unknown field "{field}"')
    elif error.validator == "required":
        for name in value:
            if name not in instance:
                field = f"{path}.{name}" if path else str(name)
                yield Problem(field, "required", "Required value")
    else:
        yield Problem(path, "type", error.message)


class UnavailableError(Exception):
    """The document can't be had here; says why."""


def _fetch() -> None:
    go = shutil.which("go")
    if go is None:
        raise UnavailableError("Go, which fetches Kubernetes' schemas, is not on the PATH")
    command = [go, "mod", "download", "-json", f"k8s.io/kubernetes@{VERSION}"]
    try:
        with tempfile.TemporaryDirectory() as elsewhere:
            done = subprocess.run(
                command, cwd=elsewhere, capture_output=True, timeout=_DOWNLOAD_SECONDS, check=True
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"Go could not fetch Kubernetes' schemas: {error}") from error
    source = Path(json.loads(done.stdout)["Dir"]) / "api/openapi-spec/swagger.json"
    FOLDER.mkdir(exist_ok=True)
    # Tests that run side by side may fetch it at the same time.
    partial = _DOCUMENT.with_name(f"{_DOCUMENT.name}.{os.getpid()}")
    shutil.copyfile(source, partial)
    partial.replace(_DOCUMENT)


@functools.cache
def load() -> Schemas:
    """The published schemas, fetched on first use.

    Raises:
        UnavailableError: They are not here, and Go can't fetch them.
    """
    if not _DOCUMENT.exists():
        _fetch()
    return Schemas(json.loads(_DOCUMENT.read_text(encoding="utf-8")))


def load_or_skip() -> Schemas:
    """The published schemas. A test that needs them is left out where they can't be had."""
    try:
        return load()
    except UnavailableError as error:
        pytest.skip(str(error))
