"""Pages that are generated from the code while mkdocs builds the site.

mkdocs is started as ``python -m mkdocs`` from the root of the repository, which makes this package
importable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mkdocs.structure.files import File

from tools.site.command_page import command_page
from tools.site.errors_page import errors_page
from tools.site.schema_page import schema_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

GENERATED: dict[str, Callable[[], str]] = {
    "reference/api/errors.md": errors_page,
    "reference/cli.md": command_page,
    "reference/schema.md": schema_page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages. mkdocs calls this once it has listed those in docs/."""
    for path, write in GENERATED.items():
        files.append(File.generated(config, path, content=write()))
    return files
