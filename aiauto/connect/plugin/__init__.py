"""The protoc plugin: typed clients and servers for the services of a schema.

It stands beside betterproto2's compiler, which writes the messages (see `messages`), and writes
into the same folder: ``connect.py`` there, and a ``connect.py`` in the folder of each proto
package that has services. With buf::

    plugins:
      - local: protoc-gen-aiauto-messages
        out: gen/acme_gen
        strategy: all
        opt: [client_generation=none, server_generation=none]
      - local: protoc-gen-aiauto-connect
        out: gen/acme_gen
        strategy: all

What it writes needs `betterproto2` to run, and a transport such as `aiauto.connect.Transport`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from betterproto2_compiler.lib.google.protobuf.compiler import (
        CodeGeneratorRequest,
        CodeGeneratorResponse,
    )

__all__ = ["generate", "main"]


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """Answers protoc: with files, or with an error for the author of the schema."""
    from betterproto2_compiler.lib.google.protobuf.compiler import (  # noqa: PLC0415 - see main
        CodeGeneratorResponse,
        CodeGeneratorResponseFeature,
        CodeGeneratorResponseFile,
    )

    from aiauto.connect.plugin import render, schema  # noqa: PLC0415 - see main

    response = CodeGeneratorResponse(
        supported_features=int(CodeGeneratorResponseFeature.PROTO3_OPTIONAL)
    )
    try:
        packages = schema.read_packages(request)
        files = {f"{schema.SUPPORT_MODULE}.py": render.render_support()} if packages else {}
        for package in packages:
            folder = package.name.replace(".", "/")
            files[f"{folder}/{schema.SUPPORT_MODULE}.py"] = render.render_package(package)
    except schema.SchemaError as error:
        response.error = str(error)
    else:
        response.file = [
            CodeGeneratorResponseFile(name=name, content=files[name]) for name in sorted(files)
        ]
    return response


def main() -> None:
    """Runs the plugin: a request on standard input, the answer on standard output."""
    try:
        from betterproto2_compiler.lib.google.protobuf.compiler import (  # noqa: PLC0415
            CodeGeneratorRequest,
        )
    except ImportError:
        sys.exit(
            "aiauto.connect.plugin needs betterproto2_compiler: pip install betterproto2-compiler"
        )
    request = CodeGeneratorRequest.parse(sys.stdin.buffer.read())
    sys.stdout.buffer.write(bytes(generate(request)))
