"""TIFF, NIfTI and FITS as outputs: read by the formats' own libraries, and by smalti again."""

import json

import nibabel
import numpy as np
import pytest
import tifffile
from astropy.io import fits

import smalti
from helpers.image_files import everything, noise
from smalti.errors import SmaltiError, UsageError
from smalti.images.batch import ImageBatch
from smalti.sinks import volume_files
from smalti.sinks.sink import open_image_writer
from smalti.sinks.volume_axes import axes_of
from smalti.sources.open import open_source

KINDS = {"uint8": np.uint8, "uint16": np.uint16, "int16": np.int16}


def made(dtype, channels, count=5, height=6, width=7):
    info = np.iinfo(dtype)
    values = np.random.default_rng(channels).integers(info.min, info.max + 1, (count, height, width, channels))
    return values.astype(dtype)


def write(path, pixels, announced=None, **settings):
    with open_image_writer(path, pixels.shape[1:], announced or len(pixels), dtype=pixels.dtype, **settings) as writer:
        for start in range(0, len(pixels), 2):
            writer.write(ImageBatch(pixels[start : start + 2]))


@pytest.mark.parametrize("dtype", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_pages(dtype, channels, big, tmp_path, monkeypatch):
    if big:
        monkeypatch.setattr(volume_files, "_BIG", 100)
    pixels = made(dtype, channels)
    write(tmp_path / "a.tif", pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff == big and len(file.pages) == 5
        series = file.series[0]
        assert (series.axes, series.dtype) == ("ZYX" if channels == 1 else "ZYXS", dtype)
        np.testing.assert_array_equal(series.asarray().reshape(pixels.shape), pixels)
        for number, page in enumerate(file.pages):
            np.testing.assert_array_equal(page.asarray().reshape(pixels.shape[1:]), pixels[number])
    found = everything(open_source(tmp_path / "a.tif"))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.names == tuple(f"a.tif#{number}" for number in range(5))
    assert list(found.fields["z"]) == list(range(5))


@pytest.mark.parametrize("dtype", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_volumes(dtype, name, tmp_path):
    pixels = made(dtype, 1)
    affine = [[2, 0, 0, -9], [0, 2, 0, 4], [0, 0, 3, 1], [0, 0, 0, 1]]
    write(tmp_path / name, pixels, shared={"affine": json.dumps(affine), "scl_slope": 2.5, "scl_inter": -1.0})
    image = nibabel.load(tmp_path / name)
    assert image.shape == (7, 6, 5) and image.get_data_dtype() == dtype
    np.testing.assert_array_equal(image.affine, affine)
    assert (image.dataobj.slope, image.dataobj.inter) == (2.5, -1.0)
    np.testing.assert_array_equal(image.dataobj.get_unscaled(), pixels[..., 0].transpose(2, 1, 0))
    np.testing.assert_array_equal(everything(open_source(tmp_path / name)).pixels, pixels)


def test_nifti_of_colours(tmp_path):
    pixels = made(np.uint8, 3)
    write(tmp_path / "a.nii", pixels)
    values = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj)
    for channel, name in enumerate("RGB"):
        np.testing.assert_array_equal(values[name], pixels[..., channel].transpose(2, 1, 0))
    np.testing.assert_array_equal(everything(open_source(tmp_path / "a.nii")).pixels, pixels)


@pytest.mark.parametrize("dtype", KINDS.values(), ids=KINDS)
def test_fits_cubes(dtype, tmp_path):
    pixels = made(dtype, 1)
    write(tmp_path / "a.fits", pixels, shared={"ctype3": "FREQ"})
    with fits.open(tmp_path / "a.fits") as file:
        file.verify("exception")
        assert file[0].header["CTYPE3"] == "FREQ"
        np.testing.assert_array_equal(file[0].data, pixels[..., 0])
        assert file[0].data.dtype.newbyteorder("=") == dtype
    assert (tmp_path / "a.fits").stat().st_size % 2880 == 0
    np.testing.assert_array_equal(everything(open_source(tmp_path / "a.fits")).pixels, pixels)


@pytest.mark.parametrize("name", ["a.tif", "a.nii", "a.fits"])
def test_fewer_planes_than_announced(name, tmp_path):
    pixels = made(np.int16, 1)
    write(tmp_path / name, pixels, announced=9, axes=(("z", 9),))
    np.testing.assert_array_equal(everything(open_source(tmp_path / name)).pixels, pixels)


def test_a_gzip_header_cannot_be_corrected(tmp_path):
    with pytest.raises(SmaltiError, match="5 images came, 9 were announced"):
        write(tmp_path / "a.nii.gz", made(np.int16, 1), announced=9)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "dtype", "channels"),
    [("a.fits", np.uint8, 3), ("a.nii", np.uint8, 4), ("a.nii", np.uint16, 3), ("a.nii.gz", np.uint8, 2)],
)
def test_what_a_format_does_not_hold_is_refused(name, dtype, channels, tmp_path):
    with pytest.raises(UsageError, match=r"write \.npy or \.tif"):
        write(tmp_path / name, made(dtype, channels))
    assert list(tmp_path.iterdir()) == []


def test_labels_names_and_fields_lie_beside(tmp_path):
    with open_image_writer(tmp_path / "a.tif", (6, 7, 1), 2, class_names=["x", "y"]) as writer:
        batch = ImageBatch(made(np.uint8, 1, 2), np.array([1, 0]), ("b.png", "c.png"), {"dose": [0.5, None]})
        writer.write(batch)
    assert np.load(tmp_path / "a.labels.npy").tolist() == [1, 0]
    rows = [json.loads(line) for line in (tmp_path / "a.tif.metadata.jsonl").read_text().splitlines()]
    assert rows == [{"file_name": "b.png", "dose": 0.5}, {"file_name": "c.png", "dose": None}]
    assert json.loads((tmp_path / "a.tif.class_names.json").read_text()) == ["x", "y"]


def test_a_volume_comes_out_as_it_went_in(tmp_path):
    values = np.random.default_rng(0).integers(-1000, 1000, (8, 7, 4, 3)).astype(np.int16)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = [-10, 5, 7]
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "v.nii.gz")
    smalti.compress(tmp_path / "v.nii.gz", tmp_path / "v.smalti", max_error=0, effort=0, compare=False)
    for name in ("o.nii", "packed.nii.gz", "o.tif", "o.fits"):
        smalti.extract(tmp_path / "v.smalti", tmp_path / name)
    for name in ("o.nii", "packed.nii.gz"):
        image = nibabel.load(tmp_path / name)
        np.testing.assert_array_equal(image.dataobj.get_unscaled(), values)
        np.testing.assert_array_equal(image.affine, affine)
    with tifffile.TiffFile(tmp_path / "o.tif") as file:
        assert file.series[0].axes == "TZYX"
        np.testing.assert_array_equal(file.series[0].asarray(), values.transpose(3, 2, 1, 0))
    np.testing.assert_array_equal(fits.getdata(tmp_path / "o.fits"), values.transpose(3, 2, 1, 0))
    smalti.extract(tmp_path / "v.smalti", tmp_path / "some.tif", [5, 4])
    with tifffile.TiffFile(tmp_path / "some.tif") as file:
        np.testing.assert_array_equal(file.series[0].asarray(), values[:, :, [1, 0], 1].transpose(2, 1, 0))


def test_axes_are_those_of_one_file_in_its_order():
    names = [f"v.tif#{number}" for number in range(6)]
    fields = {"t": [0, 0, 0, 1, 1, 1], "z": [0, 1, 2] * 2, "dose": [1.0] * 6}
    assert axes_of(names, fields) == (("t", 2), ("z", 3))
    assert axes_of(names, {"c": [0, 1] * 3, "z": [0, 0, 1, 1, 2, 2]}) == (("z", 3), ("c", 2))
    assert (
        axes_of([*names[:5], "w.tif#0"], fields) == axes_of(None, fields) == axes_of(names, {"dose": [1.0] * 6}) == ()
    )
    assert axes_of(names[::-1], {name: values[::-1] for name, values in fields.items()}) == ()
    assert axes_of(names, {"z": [0, 1, 2, 3, 4, None]}) == ()
    assert axes_of(["a#0"], {"z": [0]}) == (("z", 1),)


def test_one_page_is_a_plain_image(tmp_path):
    write(tmp_path / "a.tif", noise(1, 5, 5, 1))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif").squeeze(), noise(1, 5, 5, 1)[0, ..., 0])
