from dataclasses import replace
from pathlib import Path

import pytest

from smalti.archive.read.reader import open_archive
from smalti.cli.summary import info_json, info_text, larger_than_raw, short_summary


@pytest.fixture
def info(archive):
    with open_archive(archive) as opened:
        return opened.info()


@pytest.mark.parametrize(
    ("ratio", "shown"), [(1234.56, "1,234.6:1"), (18.34, "18.3:1"), (9.876, "9.88:1"), (0.01234, "0.0123:1")]
)
def test_ratios_have_significant_digits(info, ratio, shown):
    assert f"{shown} with the model" in short_summary(Path("a"), replace(info, ratio=ratio))
    assert f"{shown} with the model" in info_text(Path("a"), replace(info, ratio=ratio))


def test_one_image_is_not_images(info):
    assert short_summary(Path("a"), replace(info, images=1)).startswith("a: 1 image in ")


def test_an_archive_larger_than_its_pixels_is_warned_of(info):
    assert larger_than_raw(replace(info, ratio=1.0)) is None
    line = larger_than_raw(replace(info, ratio=0.5, break_even_images=1_263))
    assert "larger than the raw pixels" in line and "from 1,263 such images on" in line
    assert "such images" not in larger_than_raw(replace(info, ratio=0.5, break_even_images=None))


def test_every_part_of_the_file_is_listed(info):
    text = info_text(Path("a"), info)
    for part in info_json(info)["bytes"]:
        assert f"\n  {part} " in text
    assert "never smaller" in info_text(Path("a"), replace(info, break_even_images=None))
