"""Reads what protoc says about a schema into the little that the generated services need."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from betterproto2_compiler.compile.naming import (
    pythonize_class_name,
    pythonize_field_name,
    pythonize_method_name,
)
from betterproto2_compiler.lib.google.protobuf import (
    FieldDescriptorProtoLabel,
    FieldDescriptorProtoType,
    MethodOptionsIdempotencyLevel,
)

from aiauto.connect.contract import Idempotency, StreamKind
from aiauto.connect.json_format import default_json_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from betterproto2_compiler.lib.google.protobuf import (
        DescriptorProto,
        FileDescriptorProto,
        MethodDescriptorProto,
        ServiceDescriptorProto,
    )
    from betterproto2_compiler.lib.google.protobuf.compiler import CodeGeneratorRequest

SUPPORT_MODULE = "connect"
"""Name of the generated modules: one with what services share, and one a package."""

_IDEMPOTENCY = {
    MethodOptionsIdempotencyLevel.IDEMPOTENCY_UNKNOWN: Idempotency.UNKNOWN,
    MethodOptionsIdempotencyLevel.NO_SIDE_EFFECTS: Idempotency.NO_SIDE_EFFECTS,
    MethodOptionsIdempotencyLevel.IDEMPOTENT: Idempotency.IDEMPOTENT,
}
_KINDS = {
    (False, False): StreamKind.UNARY,
    (True, False): StreamKind.CLIENT_STREAM,
    (False, True): StreamKind.SERVER_STREAM,
    (True, True): StreamKind.BIDI_STREAM,
}

# Field numbers in descriptor.proto, of which the paths to comments consist.
_FILE_SERVICE = 6
_SERVICE_METHOD = 2


class SchemaError(Exception):
    """The schema can't be turned into code. The text says what to change."""


@dataclass(frozen=True)
class MessageType:
    """A message, as the generated code names it.

    Attributes:
        package: Its proto package.
        class_name: Its Python class.
        has_request_id: Whether it has a string field `request_id`.
        json_names: Fields by their Python names, with their names in JSON, where one does not
            follow from the other: because of the option `json_name`, or of unusual capitals.
    """

    package: str
    class_name: str
    has_request_id: bool
    json_names: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rpc:
    """A method of a service."""

    name: str
    python_name: str
    request: MessageType
    response: MessageType
    kind: StreamKind
    idempotency: Idempotency
    comment: str
    deprecated: bool


@dataclass(frozen=True)
class Service:
    """A service."""

    name: str
    full_name: str
    rpcs: tuple[Rpc, ...]
    comment: str
    deprecated: bool


@dataclass
class Package:
    """A proto package of which there is something to write.

    Attributes:
        name: Its name.
        sources: Its files, as far as they matter.
        services: Its services.
        renamed: Its messages with unusual names in JSON.
    """

    name: str
    sources: list[str] = field(default_factory=list[str])
    services: list[Service] = field(default_factory=list[Service])
    renamed: list[MessageType] = field(default_factory=list[MessageType])


def read_packages(request: CodeGeneratorRequest) -> list[Package]:
    """Lists the packages among the files to generate with something to write, sorted by name.

    Raises:
        SchemaError: Names in the schema get into each other's way.
    """
    messages = {
        full_name: message
        for file in request.proto_file
        for full_name, message in _messages_of(file)
    }
    wanted = set(request.file_to_generate)
    packages: dict[str, Package] = {}
    for file in sorted(request.proto_file, key=lambda one: one.name):
        renamed = [message for _, message in _messages_of(file) if message.json_names]
        if file.name not in wanted or not (file.service or renamed):
            continue
        package = packages.setdefault(file.package, Package(file.package))
        package.sources.append(file.name)
        package.renamed += renamed
        package.services += [
            _read_service(file, index, service, messages)
            for index, service in enumerate(file.service)
        ]
    found = [packages[name] for name in sorted(packages)]
    _check_module_names(found, {file.package for file in request.proto_file})
    return found


def _check_module_names(packages: Sequence[Package], all_packages: set[str]) -> None:
    """Checks that the modules to be written don't take the place of a package."""
    if any(not package.name for package in packages):
        raise SchemaError(
            f"a service, or a message with an unusual name in JSON, stands in a file without a "
            f"package ({', '.join(packages[0].sources)}), "
            "where its module would be that of the support code: give the file a package"
        )
    for module in ("", *(package.name for package in packages)):
        taken = f"{module}.{SUPPORT_MODULE}".lstrip(".")
        for name in sorted(all_packages):
            if name == taken or name.startswith(taken + "."):
                raise SchemaError(
                    f"the proto package {name!r} is in the way: its folder would have the name of "
                    f"the generated module {taken.replace('.', '/')}.py. Rename the package, or "
                    "generate it into an output folder of its own"
                )


def _messages_of(file: FileDescriptorProto) -> Iterator[tuple[str, MessageType]]:
    """Yields the messages of a file, nested ones included, by fully qualified name."""
    prefix = f".{file.package}" if file.package else ""

    def walk(scope: str, found: Sequence[DescriptorProto]) -> Iterator[tuple[str, MessageType]]:
        for message in found:
            name = f"{scope}{message.name}"
            has_request_id = any(
                one.name == "request_id"
                and one.type == FieldDescriptorProtoType.STRING
                and one.label != FieldDescriptorProtoLabel.REPEATED
                for one in message.field
            )
            yield (
                f"{prefix}.{name}",
                MessageType(
                    package=file.package,
                    class_name=pythonize_class_name(name),
                    has_request_id=has_request_id,
                    json_names=tuple(_json_names(message)),
                ),
            )
            yield from walk(f"{name}.", message.nested_type)

    return walk("", file.message_type)


def _json_names(message: DescriptorProto) -> Iterator[tuple[str, str]]:
    for one in message.field:
        name = pythonize_field_name(one.name)
        if one.json_name and one.json_name != default_json_name(name):
            yield name, one.json_name


def _read_service(
    file: FileDescriptorProto,
    index: int,
    service: ServiceDescriptorProto,
    messages: dict[str, MessageType],
) -> Service:
    path = (_FILE_SERVICE, index)
    full_name = f"{file.package}.{service.name}".lstrip(".")
    rpcs = tuple(
        _read_rpc(method, _comment(file, (*path, _SERVICE_METHOD, number)), messages)
        for number, method in enumerate(service.method)
    )
    by_name: dict[str, str] = {}
    for rpc in rpcs:
        other = by_name.setdefault(rpc.python_name, rpc.name)
        if other != rpc.name:
            raise SchemaError(
                f"{full_name}: the methods {other} and {rpc.name} would both be called "
                f"{rpc.python_name} in Python: rename one of them"
            )
    return Service(
        name=service.name,
        full_name=full_name,
        rpcs=rpcs,
        comment=_comment(file, path),
        deprecated=bool(service.options and service.options.deprecated),
    )


def _read_rpc(method: MethodDescriptorProto, comment: str, messages: dict[str, MessageType]) -> Rpc:
    options = method.options
    return Rpc(
        name=method.name,
        python_name=pythonize_method_name(method.name),
        request=messages[method.input_type],
        response=messages[method.output_type],
        kind=_KINDS[method.client_streaming, method.server_streaming],
        idempotency=_IDEMPOTENCY[options.idempotency_level] if options else Idempotency.UNKNOWN,
        comment=comment,
        deprecated=bool(options and options.deprecated),
    )


def _comment(file: FileDescriptorProto, path: tuple[int, ...]) -> str:
    """The comment above an element, or else behind it, without hints to buf's linter."""
    for location in file.source_code_info.location if file.source_code_info else ():
        if tuple(location.path) == path:
            text = location.leading_comments or location.trailing_comments
            lines = [line.rstrip() for line in text.splitlines() if "buf:lint:" not in line]
            return textwrap.dedent("\n".join(lines)).strip()
    return ""
