"""Runs betterproto2's compiler, which writes the messages, so that it fits in with a typed package.

Two things are mended: it leaves out every ``__init__.py`` that exists below the current folder,
where the package of a project may have the name of a proto package; and the variable in its
``message_pool.py`` has no type. It takes the place and the options of betterproto2's own plugin.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Final

__all__ = ["main"]

_POOL: Final = "default_message_pool ="
_TYPED_POOL: Final = "default_message_pool: betterproto2.MessagePool ="


def main() -> None:
    """Runs the plugin: a request on standard input, the answer on standard output."""
    try:
        from betterproto2_compiler.lib.google.protobuf.compiler import (  # noqa: PLC0415
            CodeGeneratorRequest,
        )
        from betterproto2_compiler.plugin.parser import generate_code  # noqa: PLC0415
    except ImportError:
        sys.exit(
            "aiauto.connect.plugin needs betterproto2_compiler: pip install betterproto2-compiler"
        )
    request = CodeGeneratorRequest.parse(sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        response = generate_code(request)
        os.chdir("/")
    for file in response.file:
        if file.name == "message_pool.py":
            file.content = file.content.replace(_POOL, _TYPED_POOL)
    sys.stdout.buffer.write(bytes(response))


if __name__ == "__main__":
    main()
