"""Images for workers on a cluster."""

from __future__ import annotations

import sys

import pytest

import aiauto
from aiauto import images


def test_the_list_is_plain_text() -> None:
    assert all(isinstance(image, str) for image in aiauto.RUNTIME_IMAGES)
    assert len(set(aiauto.RUNTIME_IMAGES)) == len(aiauto.RUNTIME_IMAGES)


def test_the_first_image_is_the_default_one() -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}-"
    assert version in aiauto.RUNTIME_IMAGES[0]
    assert images.default_image() == aiauto.RUNTIME_IMAGES[0]


def test_plain_images_come_before_those_for_gpus() -> None:
    plain = ["astral-sh/uv" in image for image in aiauto.RUNTIME_IMAGES]
    assert plain == sorted(plain, reverse=True)
    assert sum(plain) == 6


@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14, 15])
def test_the_image_fits_the_python_that_pickles(minor: int) -> None:
    assert f"python3.{minor}-" in images.default_image(python=(3, minor))
    for_gpu = images.default_image(use_gpu=True, python=(3, minor))
    assert for_gpu
    assert ("pytorch" in for_gpu) == (minor in {10, 11})


def test_an_unknown_python_leaves_it_to_the_server() -> None:
    assert images.default_image(python=(3, 99)) == ""
