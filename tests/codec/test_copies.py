"""Images that occur several times in a source are stored once, whatever the kind of tokens."""

import numpy as np
import pytest

from helpers import tiny_pixel_fits, tiny_transforms
from smalti.archive.read.reader import open_archive
from smalti.codec.pack import pack_any_size
from smalti.codec.request import FitRequest
from smalti.images.sized import as_sized, chain_sized
from smalti.sources.open import open_source

ORDER = [0, 1, 1, 2, 0, 3, 2, 2, 1]


def repeated(images):
    """A source of images in this order, each in a batch of its own."""
    return chain_sized("repeated", [as_sized(open_source(images[number][None])) for number in ORDER])


@pytest.mark.parametrize("kind", ["photo", "drawing"])
def test_images_that_occur_again_are_stored_once(kind, tmp_path, monkeypatch):
    fits = tiny_transforms if kind == "photo" else tiny_pixel_fits
    fits.small_efforts(monkeypatch)
    make = tiny_transforms.smooth if kind == "photo" else tiny_pixel_fits.drawing
    images = [make(*size, seed=number) for number, size in enumerate([(24, 33), (17, 40), (48, 48), (24, 33)])]
    model = tiny_transforms.fit_pictures() if kind == "photo" else tiny_pixel_fits.fit_drawings()
    report = pack_any_size(repeated(images), tmp_path / "a.smalti", model, FitRequest())
    assert report.info.images == 9 and report.info.copies == 5
    with open_archive(tmp_path / "a.smalti") as archive:
        found = archive.images(slice(None))
        assert archive.verify("pixels").ok
        assert all(
            np.array_equal(image, found[ORDER.index(number)]) for image, number in zip(found, ORDER, strict=True)
        )
