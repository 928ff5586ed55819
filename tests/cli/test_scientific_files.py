"""Scientific files that other packages ship as test data: compressed without loss, and decoded to the same samples."""

import imagecodecs
import mrcfile
import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from astropy.io import fits

from helpers.tiny_lossless import small_efforts
from inputs.dicom_files import dicom_bytes
from inputs.making import noise, wide
from inputs.shipped_dicom import SHIPPED
from inputs.volume_files import FITS_DATA, NIFTI_DATA, signed
from smalti.archive.open import open_images

LOSSLESS = ["--lossless", "--effort", 0, "--no-compare", "--threads", 1]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_efforts(monkeypatch, 4)


def _colours(path):
    path.write_bytes((SHIPPED / "SC_rgb_rle_16bit_2frame.dcm").read_bytes())
    return pydicom.dcmread(path).pixel_array


def _mask(path):
    path.write_bytes((SHIPPED / "liver_1frame.dcm").read_bytes())
    return pydicom.dcmread(path).pixel_array[None]


def _sky(path):
    path.write_bytes((FITS_DATA / "o4sp040b0_raw.fits").read_bytes())
    with fits.open(path) as hdus:
        return np.stack([hdus[number].data for number in (1, 4)])


def _small_volume(path):
    path.write_bytes((NIFTI_DATA / "standard.nii.gz").read_bytes())
    return np.asarray(nibabel.load(path).dataobj.get_unscaled()).T


def _map(path):
    with mrcfile.new(path) as file:
        file.set_data(wide(5, 20, 30))
    return wide(5, 20, 30)


def _volume(path):
    nrrd.write(str(path), noise(4, 20, 30).T)
    return noise(4, 20, 30)


def _scan(path):
    path.write_bytes((SHIPPED / "MR_small_RLE.dcm").read_bytes())
    return pydicom.dcmread(path).pixel_array[None]


def _tiles(path):
    path.write_bytes((FITS_DATA / "compressed_image.fits").read_bytes())
    with fits.open(path) as hdus:
        return np.asarray(hdus[1].data)[None]


def _head(path):
    path.write_bytes((NIFTI_DATA / "anatomical.nii").read_bytes())
    return np.asarray(nibabel.load(path).dataobj.get_unscaled()).T


FILES = {
    "scan.dcm": _scan,
    "tiles.fits": _tiles,
    "head.nii": _head,
    "colours.dcm": _colours,
    "mask.dcm": _mask,
    "sky.fits": _sky,
    "small.nii.gz": _small_volume,
    "map.mrc": _map,
    "volume.nrrd": _volume,
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_comes_back(name, smalti, tmp_path):
    path, archive = tmp_path / name, tmp_path / "a.smalti"
    expected = FILES[name](path)
    ran = smalti("compress", path, "-o", archive, *LOSSLESS)
    assert ran.code == 0, ran
    with open_images(archive) as images:
        found = [np.asarray(images.images(slice(number, number + 1))[0]) for number in range(len(expected))]
        assert len(images) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype.newbyteorder("=")
        np.testing.assert_array_equal(one.reshape(other.shape), other)


def test_a_compressed_ct_comes_back_with_its_fields(smalti, tmp_path):
    series = signed(3, 32, 32) >> 4
    folder, archive = tmp_path / "series", tmp_path / "a.smalti"
    folder.mkdir()
    for number, pixels in enumerate(series):
        frame = imagecodecs.jpegls_encode(pixels.view(np.uint16))
        data = dicom_bytes(
            pixels[None], pydicom.uid.JPEGLSLossless, compressed=[frame], InstanceNumber=number, RescaleIntercept=-1024
        )
        (folder / f"IM{number}").write_bytes(data)
    assert smalti("compress", folder, "-o", archive, *LOSSLESS).code == 0
    with open_images(archive) as images:
        found = np.stack([np.asarray(images.images(slice(number, number + 1))[0]) for number in range(3)])
        np.testing.assert_array_equal(found.reshape(series.shape), series)
        assert images.names == ("IM0", "IM1", "IM2")
        assert {name: tuple(values) for name, values in images.fields.items()} == {
            "photometric": ("MONOCHROME2",) * 3,
            "instance_number": (0, 1, 2),
            "rescale_intercept": (-1024.0,) * 3,
        }
