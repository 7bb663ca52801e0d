"""The reference of the schema, from the descriptors and comments of proto/."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from betterproto2_compiler.lib.google.protobuf import (
    FieldDescriptorProtoLabel,
    FieldDescriptorProtoType,
    FileDescriptorSet,
)
from betterproto2_compiler.lib.google.protobuf.compiler import CodeGeneratorRequest

from aiauto.connect.contract import Idempotency, StreamKind
from aiauto.connect.plugin import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from betterproto2_compiler.lib.google.protobuf import (
        DescriptorProto,
        EnumDescriptorProto,
        FieldDescriptorProto,
        FileDescriptorProto,
    )

ROOT = Path(__file__).parents[2]
OPENING = """\
# Schema

The contract between scripts, servers and workers, `aiauto.v1`. Calls are Connect RPCs: POST to
`/aiauto.v1.<Service>/<Method>`, as JSON or as binary messages, with the token as
`Authorization: Bearer`. JSON names are in lowerCamelCase: `study_name` is `studyName`.

**Sent again** tells which calls a client may repeat on its own: *reads* change nothing,
*idempotent* ones do the same twice as once. [Change the schema](../change-the-schema.md) tells how
to add to it.
"""
SENT_AGAIN = {
    Idempotency.NO_SIDE_EFFECTS: "reads",
    Idempotency.IDEMPOTENT: "idempotent",
    Idempotency.UNKNOWN: "no",
}
STREAMS = {
    StreamKind.UNARY: ("", ""),
    StreamKind.CLIENT_STREAM: ("stream of ", ""),
    StreamKind.SERVER_STREAM: ("", "stream of "),
    StreamKind.BIDI_STREAM: ("stream of ", "stream of "),
}
# Field numbers in descriptor.proto, of which the paths to comments consist.
FILE_MESSAGE, FILE_ENUM = 4, 5
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM = 2, 3, 4
ENUM_VALUE = 2


def schema_page() -> str:
    """Give the page as Markdown.

    Raises:
        subprocess.CalledProcessError: buf can't read proto/.
    """
    files = _descriptors()
    own = [file for file in files if not file.package.startswith("google.")]
    request = CodeGeneratorRequest(file_to_generate=[one.name for one in own], proto_file=files)
    lines = [OPENING, "## Services", ""]
    (package,) = schema.read_packages(request)
    for service in sorted(package.services, key=lambda one: one.name):
        lines += _service(service)
    lines += ["## Messages", ""]
    for file in own:
        lines += _messages(_Source(file), file.message_type, (FILE_MESSAGE,), "")
    lines += ["## Enums", ""]
    for file in own:
        lines += _enums(_Source(file))
    return "\n".join(lines)


def _descriptors() -> list[FileDescriptorProto]:
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
        subprocess.run([buf, "build", "--output", str(image)], cwd=ROOT, check=True)
        return FileDescriptorSet.parse(image.read_bytes()).file


class _Source:
    """A file of the schema, with its comments by their paths."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        info = file.source_code_info
        self._comments = {
            tuple(one.path): one.leading_comments or one.trailing_comments
            for one in (info.location if info else ())
        }

    def comment(self, path: tuple[int, ...]) -> str:
        """The comment of an element, without hints to buf's linter."""
        lines = self._comments.get(path, "").splitlines()
        kept = [line.rstrip() for line in lines if "buf:lint:" not in line]
        return textwrap.dedent("\n".join(kept)).strip()


def _service(service: schema.Service) -> Iterator[str]:
    yield from (f"### {service.name}", "", service.comment, "")
    yield "| method | takes | answers | sent again | |"
    yield "| --- | --- | --- | --- | --- |"
    for rpc in service.rpcs:
        before, behind = STREAMS[rpc.kind]
        yield (
            f"| `{rpc.name}` | {before}{_link(rpc.request.class_name)} "
            f"| {behind}{_link(rpc.response.class_name)} "
            f"| {SENT_AGAIN[rpc.idempotency]} | {_cell(rpc.comment)} |"
        )
    yield ""


def _messages(
    source: _Source, messages: list[DescriptorProto], path: tuple[int, ...], scope: str
) -> Iterator[str]:
    for index, message in enumerate(messages):
        if message.options and message.options.map_entry:
            continue
        here = (*path, index)
        name = f"{scope}{message.name}"
        yield from (f"### {name} {{#{_anchor(name)}}}", "", source.comment(here), "")
        if message.field:
            yield "| field | number | type | |"
            yield "| --- | --- | --- | --- |"
        for number, field in enumerate(message.field):
            comment = _cell(source.comment((*here, MESSAGE_FIELD, number)))
            yield f"| `{field.name}` | {field.number} | {_type(field, message)} | {comment} |"
        yield ""
        yield from _messages(source, message.nested_type, (*here, MESSAGE_NESTED), f"{name}.")


def _enums(source: _Source) -> Iterator[str]:
    yield from _enums_of(source, source.file.enum_type, (FILE_ENUM,), "")
    for index, message in enumerate(source.file.message_type):
        path = (FILE_MESSAGE, index, MESSAGE_ENUM)
        yield from _enums_of(source, message.enum_type, path, f"{message.name}.")


def _enums_of(
    source: _Source, enums: list[EnumDescriptorProto], path: tuple[int, ...], scope: str
) -> Iterator[str]:
    for index, enum in enumerate(enums):
        here = (*path, index)
        name = f"{scope}{enum.name}"
        yield from (f"### {name} {{#{_anchor(name)}}}", "", source.comment(here), "")
        yield "| value | number | |"
        yield "| --- | --- | --- |"
        for number, value in enumerate(enum.value):
            comment = _cell(source.comment((*here, ENUM_VALUE, number)))
            yield f"| `{value.name}` | {value.number} | {comment} |"
        yield ""


def _type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    entry = next(
        (
            one
            for one in message.nested_type
            if one.options
            and one.options.map_entry
            and field.type_name.endswith(f".{message.name}.{one.name}")
        ),
        None,
    )
    if entry is not None:
        key, value = entry.field
        return f"map of {_type(key, entry)} to {_type(value, entry)}"
    if field.type in {FieldDescriptorProtoType.MESSAGE, FieldDescriptorProtoType.ENUM}:
        told = _link(field.type_name.lstrip("."))
    else:
        told = f"`{FieldDescriptorProtoType(field.type).name.lower()}`"
    if field.label == FieldDescriptorProtoLabel.REPEATED:
        return f"list of {told}"
    return f"{told}, optional" if field.proto3_optional else told


def _link(name: str) -> str:
    if name.startswith("google."):
        return f"`{name}`"
    short = name.removeprefix("aiauto.v1.")
    return f"[`{short}`](#{_anchor(short)})"


def _anchor(name: str) -> str:
    # Messages are linked by their classes, too, whose names have no dots.
    return name.replace(".", "").lower()


def _cell(comment: str) -> str:
    return " ".join(comment.split()).replace("|", "\\|")
