"""Which versions of a package fit each other."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from aiauto import versions


def fits(monkeypatch: pytest.MonkeyPatch, sent: str, here: str, requirements: str = "") -> bool:
    def version(name: str) -> str:
        return here

    monkeypatch.setattr("importlib.metadata.version", version)
    return not versions.mismatches({"Some_Package": sent}, requirements)


@pytest.mark.parametrize(
    ("sent", "here", "expected"),
    [
        ("2.1.0", "2.9.3", True),
        ("2.1.0", "1.26.4", False),
        ("2.1.0+cu124", "2.4.0", True),
        ("10.0", "1.0", False),
        ("0.4.1", "0.4.9", True),
        ("0.4.1", "0.5.0", False),
        ("0.4", "1.4", False),
        ("2024.1", "2025.2", True),
        ("1!2.0", "1!2.1", True),
        ("3rc1", "3rc1", True),
    ],
)
def test_the_first_number_decides(
    monkeypatch: pytest.MonkeyPatch,
    sent: str,
    here: str,
    expected: bool,  # noqa: FBT001 - pytest fills it in by name
) -> None:
    assert fits(monkeypatch, sent, here) is expected


@pytest.mark.parametrize(
    "line",
    ["some-package", "some.package>=1", "SOME_PACKAGE[extra]==1.0 ; python_version > '3'"],
)
def test_what_the_requirements_name_is_the_users_choice(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    assert fits(monkeypatch, "2.0", "1.0", f"other\n{line}\n")
    assert not fits(monkeypatch, "2.0", "1.0", f"# {line}\nsome-package-too\n")


def test_what_is_missing_is_no_mismatch() -> None:
    assert versions.mismatches({"surely-not-installed": "1.0"}, "") == []
    assert versions.differences({"surely-not-installed": "1.0"}) == [
        "surely-not-installed 1.0 there, none here"
    ]


def test_packages_are_found_by_the_modules_that_they_bring() -> None:
    found = versions.installed(
        {"yaml.nodes", "numpy", "os.path", "surely_not_installed", "numpy.x"}
    )
    assert found["PyYAML"] == version("pyyaml")
    assert found["numpy"] == version("numpy")
    assert found.keys() == {"PyYAML", "numpy", "aiauto-client", "cloudpickle", "optuna"}


def test_what_is_named_like_its_module_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the files of all packages takes long, and most objectives need not wait for it."""

    def slow() -> dict[str, list[str]]:
        raise AssertionError

    monkeypatch.setattr("importlib.metadata.packages_distributions", slow)
    assert "numpy" in versions.installed({"numpy", "aiauto.parcel", "aiauto_gen", "os", ""})
