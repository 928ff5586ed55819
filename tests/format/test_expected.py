"""The page-only readers and smalti find in conformance/golden and conformance/sound what expected.json says."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from conformance.make_expected import RECORD, ROOT, facts_of, files, name_of
from conformance.readers.basics import crc32c
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.errors import UnsupportedArchiveError

EXPECTED = json.loads(RECORD.read_text("utf-8"))
READABLE = sorted(name for name, facts in EXPECTED.items() if "refused" not in facts)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_there_is_a_record_of_every_file():
    assert sorted(EXPECTED) == [name_of(path) for path in files()] and len(EXPECTED) == 34


@pytest.mark.parametrize("name", EXPECTED)
def test_the_page_is_enough_to_read_a_file(name):
    assert facts_of((ROOT / name).read_bytes()) == EXPECTED[name], "a golden file must never change"


@pytest.mark.parametrize("name", READABLE)
def test_smalti_reads_what_is_expected(name):
    facts = EXPECTED[name]
    with open_images(ROOT / name) as images:
        assert len(images) == facts["images"] and images.verify("pixels").ok
        members = images.members if facts["required_features"] & 1 else [images]
        for member, expected in zip(members, facts["members"], strict=True):
            compare(member, expected)


def compare(archive, expected):
    """Compare an archive with the facts that are expected."""
    info = archive.info()
    if archive.any_size:
        images = archive.images(slice(None))
        assert ["x".join(map(str, archive.shape_of(n))) for n in range(len(archive))] == expected["shape"]
        tokens = [archive.tokens(number, number + 1)[0] for number in range(len(archive))]
        assert ["x".join(map(str, each.shape)) for each in tokens] == expected["tokens_shape"]
    else:
        images, tokens = [archive[:]], [archive.tokens()]
        assert list(images[0].reshape(expected["shape"]).shape) == expected["shape"]
    assert {image.dtype.name for image in images} == {expected["dtype"]} and info.decoder == expected["decoder"]
    assert digest(b"".join(np.ascontiguousarray(image).tobytes() for image in images)) == expected["pixels_sha256"]
    assert digest(b"".join(each.astype("<u2").tobytes() for each in tokens)) == expected["tokens_sha256"]
    assert (info.codebook_size, info.codes_used) == (expected["codebook_size"], expected["codes_used"])
    labels, names, classes = archive.labels, archive.names, archive.class_names
    assert (labels is None) == (expected["labels_sha256"] is None) and (names is None) == (
        expected["names_sha256"] is None
    )
    assert labels is None or digest(labels.astype("<i8").tobytes()) == expected["labels_sha256"]
    assert names is None or digest("\n".join(names).encode()) == expected["names_sha256"]
    assert (None if classes is None else list(classes)) == expected["class_names"]


def test_format_0_is_refused_by_name():
    with pytest.raises(UnsupportedArchiveError, match="format version 0"):
        open_archive(ROOT / "golden" / "format-0.smalti")


def test_the_checksum_is_the_one_the_page_names():
    assert crc32c(b"123456789") == 0xE3069283


def test_the_readers_run_without_smalti(tmp_path):
    """The readers run on the command line with NumPy alone; smalti cannot be imported."""
    (tmp_path / "smalti.py").write_text("raise ImportError('the readers must not need smalti')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT.parent)])}
    command = [sys.executable, "-m", "conformance.readers", str(ROOT / "sound" / "grid.smalti")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found, expected = json.loads(ran.stdout), EXPECTED["sound/grid.smalti"]
    assert found["pixels_sha256"] == expected["pixels_sha256"] and found["images"] == expected["images"]
    command[-1] = str(ROOT / "must_refuse" / "digest-wrong.smalti")
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 1 and ran.stderr.strip().endswith("digest-wrong.smalti: digest")


def test_sound_files_are_made_of_formulas(tmp_path):
    """On another machine zlib may pack names otherwise; the pixels must be the same."""
    from conformance.make_sound import MAKERS  # noqa: PLC0415 (it needs smalti, which the readers do not)

    for make in MAKERS:
        make(tmp_path / "again.smalti")
        with open_images(tmp_path / "again.smalti") as images:
            pixels = b"".join(np.ascontiguousarray(image).tobytes() for image in images)
        assert digest(pixels) == EXPECTED[f"sound/{make.__name__}.smalti"]["pixels_sha256"]
