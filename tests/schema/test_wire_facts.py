"""The schema keeps every name, number and type that released clients rely on."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FACTS = Path(__file__).with_name("wire_facts.txt")
ROOT = Path(__file__).parents[2]
PACKAGE = ".aiauto.v1."
FIRST_NUMBER_OF_OURS = 100

# Prints the descriptors as facts. A process of its own: protobuf's runtime keeps one global pool
# and warns at import on some Pythons.
DESCRIBE = """
import sys
from google.protobuf import descriptor_pb2 as d

SCALARS = {number: name[5:].lower() for name, number in d.FieldDescriptorProto.Type.items()}

def type_of(field, entries):
    if field.type_name in entries:
        key, value = entries[field.type_name].field
        return f"map<{type_of(key, entries)},{type_of(value, entries)}>"
    name = field.type_name[len(".aiauto.v1."):] if field.type_name else SCALARS[field.type]
    return f"repeated {name}" if field.label == field.LABEL_REPEATED else name

def describe(message, prefix=""):
    name = prefix + message.name
    entries = {f".aiauto.v1.{name}.{n.name}": n for n in message.nested_type if n.options.map_entry}
    for nested in message.nested_type:
        if not nested.options.map_entry:
            describe(nested, name + ".")
    print("message", name)
    for field in message.field:
        suffix = ""
        if field.proto3_optional:
            suffix = " optional"
        elif field.HasField("oneof_index"):
            suffix = " oneof:" + message.oneof_decl[field.oneof_index].name
        print(" ", field.number, field.name, type_of(field, entries) + suffix)

LEVELS = {number: name for name, number in d.MethodOptions.IdempotencyLevel.items()}
for file in d.FileDescriptorSet.FromString(sys.stdin.buffer.read()).file:
    assert file.package == "aiauto.v1", file.package
    for message in file.message_type:
        describe(message)
    for enum in file.enum_type:
        print("enum", enum.name)
        for value in enum.value:
            print(" ", value.number, value.name)
    for service in file.service:
        for rpc in service.method:
            kinds = "stream " if rpc.server_streaming else ""
            name = f"{service.name}.{rpc.name}"
            print("rpc", name, rpc.input_type[11:], "->", kinds + rpc.output_type[11:])
            stated = rpc.options.HasField("idempotency_level")
            level = LEVELS[rpc.options.idempotency_level] if stated else "-"
            print("idempotency", name, level)
"""


@dataclass
class Facts:
    """A schema as lines of text: fields by message, values by enum, RPCs by name."""

    messages: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    enums: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    rpcs: dict[str, str] = field(default_factory=dict[str, str])
    idempotency: dict[str, str] = field(default_factory=dict[str, str])


def parse(text: str, *, service: str = "") -> Facts:
    facts = Facts()
    members: set[str] = set()
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("  "):
            members.add(line.strip())
            continue
        word, rest = line.split(" ", 1)
        if word == "message":
            members = facts.messages.setdefault(rest, set())
        elif word == "enum":
            members = facts.enums.setdefault(rest, set())
        elif word == "rpc":
            name, signature = rest.split(" ", 1)
            facts.rpcs[service + name] = signature
        elif word == "idempotency":
            name, level = rest.split(" ", 1)
            facts.idempotency[name] = level
    return facts


@pytest.fixture(scope="module")
def wanted() -> Facts:
    return parse(FACTS.read_text(), service="AIAutoService.")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    target = tmp_path_factory.mktemp("schema") / "schema.binpb"
    files = sorted(str(path) for path in (ROOT / "proto").rglob("*.proto"))
    protoc = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
    subprocess.run([*protoc, f"--descriptor_set_out={target}", *files], check=True)
    described = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DESCRIBE],
        input=target.read_bytes(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return parse(described.stdout.decode())


def test_the_table_is_whole(wanted: Facts) -> None:
    assert len(wanted.messages) == 63
    assert len(wanted.enums) == 4
    assert len(wanted.rpcs) == 22


def test_every_message_keeps_its_fields(wanted: Facts, schema: Facts) -> None:
    for name, fields in wanted.messages.items():
        assert fields <= schema.messages[name], name


def test_what_we_add_is_numbered_from_100(wanted: Facts, schema: Facts) -> None:
    for name, fields in wanted.messages.items():
        for added in schema.messages[name] - fields:
            assert int(added.split()[0]) >= FIRST_NUMBER_OF_OURS, f"{name}: {added}"


def test_every_enum_keeps_its_values(wanted: Facts, schema: Facts) -> None:
    for name, values in wanted.enums.items():
        assert schema.enums[name] == values


def test_every_rpc_keeps_its_signature(wanted: Facts, schema: Facts) -> None:
    assert {name: schema.rpcs.get(name) for name in wanted.rpcs} == wanted.rpcs


def test_every_rpc_states_its_idempotency(schema: Facts) -> None:
    assert schema.idempotency.keys() == schema.rpcs.keys()
    assert [name for name, level in schema.idempotency.items() if level == "-"] == []


def test_reads_have_no_side_effects(schema: Facts) -> None:
    reads = re.compile(r"\.(Download|Get|List|Read|Watch|Stream)")
    for name, level in schema.idempotency.items():
        assert (level == "NO_SIDE_EFFECTS") == bool(reads.search(name)), name
