"""Requirements mean the same on a machine that has none of this one's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiauto import arguments, requirement_lines
from aiauto.errors import ArgumentError, ArgumentFileNotFoundError, ArgumentValueError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / "main.txt"

    return written


def test_included_files_are_put_in_their_place(write: Callable[..., Path]) -> None:
    path = write(
        main="torch>=2  # for the model\n\n# data\n-r more/data.txt\n--requirement=last.txt\nscipy",
        more__data="\ufeffpandas==2.2 ; python_version > '3.9'\n-r deeper/other.txt\n",
        more__deeper__other="pyarrow\n-r ../../last.txt\n",
        last="tqdm\n",
    )
    assert requirement_lines.read(path).splitlines() == [
        "torch>=2  # for the model",
        "pandas==2.2 ; python_version > '3.9'",
        "pyarrow",
        "tqdm",
        "tqdm",
        "scipy",
    ]


def test_continued_lines_are_one(write: Callable[..., Path]) -> None:
    path = write(main="torch==2.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nscipy\n")
    assert requirement_lines.read(path).splitlines() == [
        "torch==2.1 --hash=sha256:aa --hash=sha256:bb",
        "scipy",
    ]


def test_a_file_that_includes_itself(write: Callable[..., Path]) -> None:
    path = write(main="-r other.txt", other="-rmain.txt")
    with pytest.raises(ArgumentValueError, match="includes itself"):
        requirement_lines.read(path)


def test_an_included_file_that_is_not_there(write: Callable[..., Path]) -> None:
    path = write(main="-r nowhere.txt")
    with pytest.raises(ArgumentFileNotFoundError, match=r"nowhere\.txt', which .*main\.txt"):
        arguments.requirements(path, None)


def test_too_long_a_file(write: Callable[..., Path]) -> None:
    path = write(main="some-package\n" * 30_000)
    with pytest.raises(ArgumentValueError, match="at most 262144 travel"):
        requirement_lines.read(path)


REFUSED = [
    ("-c constraints.txt", "write the versions into the requirements"),
    ("--constraint=constraints.txt", "write the versions into the requirements"),
    ("-e .", "travels with it"),
    ("--editable ./mine", "travels with it"),
    ("-e git+https://example.org/mine#egg=mine", "travels with it"),
    (".", "relative path"),
    ("./mine", "relative path"),
    ("../mine[extra]", "relative path"),
    ("wheels/one-1.0-py3-none-any.whl", "relative path"),
    ("one-1.0-py3-none-any.whl", "relative path"),
    ("one-1.0.tar.gz ; python_version > '3'", "relative path"),
    ("one @ ./one-1.0.tar.gz", "relative path"),
    ("one @ file:one-1.0.tar.gz", "relative path"),
    ("wheels\\one", "relative path"),
    ("--find-links ./wheels", "relative path"),
    ("-f wheels", "relative path"),
]


@pytest.mark.parametrize(("line", "reason"), REFUSED)
def test_what_the_workers_would_not_find_is_refused(
    line: str, reason: str, write: Callable[..., Path]
) -> None:
    for argument, given in {
        "requirements_list": (None, ["torch", line]),
        "requirements_file": (write(main=f"torch\n{line}\n"), None),
    }.items():
        with pytest.raises(ArgumentError, match=reason) as caught:
            arguments.requirements(*given)
        assert caught.value.argument == argument
        assert repr(line) in str(caught.value)


def test_a_list_includes_no_file() -> None:
    with pytest.raises(ArgumentValueError, match="pass it as requirements_file"):
        arguments.requirements(None, ["-r requirements.txt"])


@pytest.mark.parametrize(
    "line",
    [
        "torch>=2,<3",
        "torch[opt]==2.1.* ; sys_platform != 'win32/64'",
        "one @ https://example.org/one-1.0-py3-none-any.whl",
        "one[extra] @ file:///srv/wheels/one-1.0.tar.gz",
        "https://example.org/one-1.0.tar.gz",
        "git+https://example.org/one.git@main",
        "/srv/wheels/one-1.0-py3-none-any.whl",
        "C:\\wheels\\one-1.0.zip",
        "--index-url https://example.org/simple",
        "--extra-index-url=https://example.org/simple",
        "-i https://example.org/simple",
        "--find-links https://example.org/wheels",
        "-f /srv/wheels",
        "-r https://example.org/requirements.txt",
        "-c https://example.org/constraints.txt",
        "--no-binary :all:",
        "--pre",
    ],
)
def test_what_means_the_same_anywhere_goes_over(line: str, write: Callable[..., Path]) -> None:
    assert arguments.requirements(None, [line]) == f"{line}\n"
    assert arguments.requirements(write(main=line), None) == f"{line}\n"
