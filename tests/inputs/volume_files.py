"""Cases of FITS, NIfTI, MRC and NRRD files: written by the library of the format, or shipped with it as test data."""

import gzip
import json
import struct
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import mrcfile
import nibabel
import nrrd
import numpy as np
from astropy.io import fits

from inputs.case import Case, Group, Made, Pixels, Value
from inputs.making import noise, refused, wide, write

FITS_DATA = Path(fits.__file__).parent / "tests" / "data"
NIFTI_DATA = Path(nibabel.__file__).parent / "tests" / "data"


def cases() -> list[Case]:
    return [*_fits(), *_shipped_fits(), *_nifti(), *_shipped_nifti(), *_mrc(), *_nrrd()]


def signed(*shape: int, seed: int = 0) -> np.ndarray:
    return wide(*shape, seed=seed).view(np.int16)


def stack(what: str, maker: str, name: str, data: bytes, planes: Pixels, **fields: Sequence[Value]) -> Case:
    """Return the case of a file whose images are `planes` [n, H, W] or [n, H, W, C], with columns of n values."""

    def make(root: Path) -> Made:
        write(root / name, data)
        names = [f"{name}#{place}" for place in range(len(planes))] if len(planes) > 1 else [name]
        return Made(root, [Group(planes.reshape(*planes.shape[:3], -1), names=names, fields=fields)])

    return Case(what, maker, make)


def _bottom(count: int) -> dict[str, list[Value]]:
    return {"rows_from_bottom": [True] * count}


def fits_bytes(*hdus: fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU) -> bytes:
    file = BytesIO()
    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, *hdus]).writeto(file)
    return file.getvalue()


def _fits() -> list[Case]:
    byte, deep, cube = noise(20, 30), wide(20, 30), wide(4, 20, 30)
    scaled = fits.PrimaryHDU(signed(5, 6))
    scaled.header["BSCALE"], scaled.header["BZERO"] = 0.5, 100.0
    spectral = fits.PrimaryHDU(signed(3, 5, 6))
    spectral.header["CTYPE3"] = "FREQ"
    several = fits_bytes(
        fits.PrimaryHDU(deep),
        fits.ImageHDU(wide(20, 30, seed=1), name="SCI"),
        fits.ImageHDU(np.ones((20, 30), np.float32), name="ERR"),
    )
    tiles = {
        name: fits_bytes(fits.CompImageHDU(cube, compression_type=name, **options))
        for name, options in (
            ("RICE_1", {}),
            ("GZIP_1", {}),
            ("GZIP_2", {"tile_shape": (2, 7, 11)}),
            ("HCOMPRESS_1", {"tile_shape": (1, 20, 30)}),
        )
    }
    planes = {"plane": [0, 1, 2, 3], **_bottom(4)}
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(3))])
    return [
        stack("FITS, uint8", "astropy", "a.fits", fits_bytes(fits.PrimaryHDU(byte)), byte[None], **_bottom(1)),
        stack(
            "FITS, int16", "astropy", "a.fits", fits_bytes(fits.PrimaryHDU(signed(5, 6))), signed(1, 5, 6), **_bottom(1)
        ),
        stack(
            "FITS, uint16 as int16 with BZERO",
            "astropy",
            "a.fit",
            fits_bytes(fits.PrimaryHDU(deep)),
            deep[None],
            **_bottom(1),
        ),
        stack("FITS, a cube of uint16", "astropy", "a.fits", fits_bytes(fits.PrimaryHDU(cube)), cube, **planes),
        stack(
            "FITS, a cube of frequencies",
            "astropy",
            "a.fits",
            fits_bytes(spectral),
            signed(3, 5, 6),
            plane=[0, 1, 2],
            ctype3=["FREQ"] * 3,
            **_bottom(3),
        ),
        stack(
            "FITS, four axes",
            "astropy",
            "a.fits",
            fits_bytes(fits.PrimaryHDU(noise(2, 3, 5, 6))),
            noise(6, 5, 6),
            plane=[0, 1, 2] * 2,
            plane2=[0, 0, 0, 1, 1, 1],
            **_bottom(6),
        ),
        stack(
            "FITS, int16 with another scale",
            "astropy",
            "a.fits",
            fits_bytes(scaled),
            signed(1, 5, 6),
            **_bottom(1),
            bscale=[0.5],
            bzero=[100.0],
        ),
        stack(
            "FITS, signed bytes",
            "astropy",
            "a.fits",
            fits_bytes(fits.PrimaryHDU(byte.view(np.int8))),
            (byte ^ 128)[None],
            **_bottom(1),
            bscale=[1.0],
            bzero=[-128.0],
        ),
        stack(
            "FITS, two images and one of floats",
            "astropy",
            "a.fits",
            several,
            np.stack([deep, wide(20, 30, seed=1)]),
            hdu=[0, 1],
            extname=[None, "SCI"],
            **_bottom(2),
        ),
        stack(
            "FITS, tiles, PLIO_1, uint8",
            "astropy",
            "a.fits",
            fits_bytes(fits.CompImageHDU(byte, compression_type="PLIO_1")),
            byte[None],
            **_bottom(1),
        ),
        *(stack(f"FITS, tiles, {name}", "astropy", "a.fits.fz", data, cube, **planes) for name, data in tiles.items()),
        stack(
            "FITS in gzip",
            "astropy, gzip",
            "a.fits.gz",
            gzip.compress(fits_bytes(fits.PrimaryHDU(cube))),
            cube,
            **planes,
        ),
        refused(
            "FITS, 32-bit float",
            "astropy",
            "a.fits",
            fits_bytes(fits.PrimaryHDU(np.ones((4, 5), "f4"))),
            "32-bit float",
        ),
        refused("FITS, a table alone", "astropy", "a.fits", fits_bytes(table), "no image"),
        refused(
            "FITS, floats in tiles",
            "astropy",
            "a.fits",
            fits_bytes(fits.CompImageHDU(np.ones((40, 50), np.float32))),
            "32-bit float",
        ),
        refused("FITS, cut in half", "astropy", "a.fits", fits_bytes(fits.PrimaryHDU(wide(90, 90)))[:12000], "shorter"),
    ]


def _shipped_fits() -> list[Case]:
    """Cases of the files that astropy ships; what it reads itself is compared."""
    plain = {
        "checksum.fits": [0],
        "comp.fits": [1],
        "double_ext.fits": [1],
        "fixed-1890.fits": [0],
        "compressed_image.fits": [1],
    }
    found = []
    for name, numbers in plain.items():
        data = (FITS_DATA / name).read_bytes()
        with fits.open(BytesIO(data)) as hdus:
            planes = np.stack([np.asarray(hdus[number].data) for number in numbers]).astype(
                hdus[numbers[0]].data.dtype.newbyteorder("=")
            )
            names = (
                {"extname": [hdus[number].header["EXTNAME"] for number in numbers]}
                if "EXTNAME" in hdus[numbers[0]].header
                else {}
            )
        found.append(stack(f"`{name}`", "shipped with astropy", name, data, planes, **names, **_bottom(len(planes))))
    return [*found, *(_several_shipped(name) for name in ("o4sp040b0_raw.fits", "test0.fits")), _scaled_shipped()]


def _several_shipped(name: str) -> Case:
    data = (FITS_DATA / name).read_bytes()
    with fits.open(BytesIO(data)) as hdus:
        numbers = [number for number, hdu in enumerate(hdus) if hdu.is_image and hdu.data is not None]
        planes = np.stack([hdus[number].data for number in numbers])
        planes = planes.astype(planes.dtype.newbyteorder("="))
    columns = {"hdu": numbers, "extname": ["SCI"] * len(numbers), **_bottom(len(numbers))}
    return stack(f"`{name}`, several images", "shipped with astropy", name, data, planes, **columns)


def _scaled_shipped() -> Case:
    data = (FITS_DATA / "scale.fits").read_bytes()
    with fits.open(BytesIO(data), do_not_scale_image_data=True) as hdus:
        planes = hdus[0].data.astype(np.int16)[None]
        scale = {"bscale": [hdus[0].header["BSCALE"]], "bzero": [hdus[0].header["BZERO"]]}
    return stack(
        "`scale.fits`, scaled to floats", "shipped with astropy", "scale.fits", data, planes, **_bottom(1), **scale
    )


def _nifti_columns(count: int, **fields: Sequence[Value]) -> dict[str, Sequence[Value]]:
    affine = np.diag([2.0, 3.0, 4.0, 1.0]).tolist()
    sizes: dict[str, Sequence[Value]] = {"voxel_size": ["[2.0, 3.0, 4.0]"] * count, "voxel_unit": ["mm"] * count}
    return {**fields, "affine": [json.dumps(affine)] * count, **sizes}


def nifti_bytes(samples: np.ndarray, kind: type = nibabel.Nifti1Image) -> bytes:
    """Write samples, indexed x, y, z, ..."""
    made = kind(samples, np.diag([2.0, 3.0, 4.0, 1.0]), dtype=samples.dtype)
    made.header.set_xyzt_units("mm", "sec")
    return bytes(made.to_bytes())


def _nifti() -> list[Case]:
    planes = wide(5, 7, 6)  # z, y, x
    series = signed(2, 3, 7, 6)
    volume = nifti_bytes(planes.T)
    scaled = bytearray(nifti_bytes(series[0].T))
    scaled[112:120] = struct.pack("<ff", 2.0, -1024.0)
    colours = np.ascontiguousarray(noise(3, 7, 6, 3).transpose(2, 1, 0, 3)).view(
        [("R", "u1"), ("G", "u1"), ("B", "u1")]
    )
    swapped = nibabel.Nifti1Image(planes.T, np.diag([2.0, 3.0, 4.0, 1.0]), nibabel.Nifti1Header(endianness=">"))
    swapped.header.set_data_dtype(np.uint16)
    swapped.header.set_xyzt_units("mm", "sec")
    pair = nibabel.Nifti1Pair(noise(4, 5, 6), np.eye(4))
    z, at = {"z": list(range(5))}, {"t": [0, 0, 0, 1, 1, 1], "z": [0, 1, 2] * 2}
    small = noise(7, 6).view(np.int8)
    return [
        stack("NIfTI, uint16", "nibabel", "a.nii", volume, planes, **_nifti_columns(5, **z)),
        stack(
            "NIfTI, uint8, gzip",
            "nibabel",
            "a.nii.gz",
            gzip.compress(nifti_bytes(noise(5, 7, 6).T)),
            noise(5, 7, 6),
            **_nifti_columns(5, **z),
        ),
        stack(
            "NIfTI, int16, a series",
            "nibabel",
            "a.nii",
            nifti_bytes(series.T),
            series.reshape(6, 7, 6),
            **_nifti_columns(6, **at),
        ),
        stack(
            "NIfTI-2, int16, a series, gzip",
            "nibabel",
            "a.nii.gz",
            gzip.compress(nifti_bytes(series.T, nibabel.Nifti2Image)),
            series.reshape(6, 7, 6),
            **_nifti_columns(6, **at),
        ),
        stack("NIfTI, big endian", "nibabel", "a.nii", bytes(swapped.to_bytes()), planes, **_nifti_columns(5, **z)),
        stack(
            "NIfTI, with slope and intercept",
            "nibabel, changed",
            "a.nii",
            bytes(scaled),
            series[0],
            **_nifti_columns(3, z=[0, 1, 2], scl_slope=[2.0] * 3, scl_inter=[-1024.0] * 3),
        ),
        stack(
            "NIfTI, RGB",
            "nibabel",
            "a.nii",
            nifti_bytes(colours[..., 0]),
            noise(3, 7, 6, 3),
            **_nifti_columns(3, z=[0, 1, 2]),
        ),
        stack(
            "NIfTI, int8",
            "nibabel",
            "a.nii",
            nifti_bytes(small.T[:, :, None]),
            small.astype(np.int16)[None],
            **_nifti_columns(1),
            stored_dtype=["int8"],
        ),
        refused("NIfTI, 32-bit float", "nibabel", "a.nii", nifti_bytes(np.ones((4, 5, 6), np.float32)), "32-bit float"),
        refused(
            "NIfTI, the header of a pair",
            "nibabel",
            "a.nii",
            bytes(pair.header.binaryblock) + bytes(4),
            "in another file",
        ),
        refused("NIfTI, cut in half", "nibabel", "a.nii", volume[: len(volume) // 2], "shorter"),
        refused(
            "NIfTI in gzip, cut in half",
            "nibabel",
            "a.nii.gz",
            gzip.compress(nifti_bytes(wide(90, 50, 1)))[:6000],
            "gzip stream is cut off",
        ),
        refused(
            "a TAR file in gzip called .nii.gz", "bytes by hand", "a.nii.gz", gzip.compress(bytes(4096)), "not an image"
        ),
    ]


def _shipped_nifti() -> list[Case]:
    """Cases of the files that nibabel ships; what it reads itself, unscaled, is compared."""
    return [
        _nifti_case(name)
        for name in ("anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "standard.nii.gz")
    ]


def _nifti_case(name: str) -> Case:
    file = nibabel.load(NIFTI_DATA / name)
    samples = np.asarray(file.dataobj.get_unscaled())
    samples = samples.astype(samples.dtype.newbyteorder("="))
    z, t = samples.shape[2], samples.shape[3] if samples.ndim == 4 else 1
    count = z * t
    planes = samples.T.reshape(count, *samples.shape[1::-1])
    at: dict[str, Sequence[Value]] = {"t": [place // z for place in range(count)]} if t > 1 else {}
    at["z"] = [place % z for place in range(count)]
    slope, intercept = file.dataobj.slope, file.dataobj.inter
    if (slope, intercept) != (1, 0):
        at |= {"scl_slope": [float(slope)] * count, "scl_inter": [float(intercept)] * count}
    at |= {"affine": [json.dumps(file.affine.tolist())] * count}
    at |= {"voxel_size": [json.dumps([float(size) for size in file.header.get_zooms()[:3]])] * count}
    if file.header.get_xyzt_units()[0] == "mm":
        at |= {"voxel_unit": ["mm"] * count}
    return stack(f"`{name}`", "shipped with nibabel", name, (NIFTI_DATA / name).read_bytes(), planes, **at)


def mrc_bytes(samples: np.ndarray, **header: int) -> bytes:
    """Write samples, and then other values of some numbers of the header."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mrc"
        with mrcfile.new(path) as file:
            file.set_data(samples)
            file.voxel_size = 1.5
            for name, value in header.items():
                file.header[name] = value
        return path.read_bytes()


def _mrc() -> list[Case]:
    volume, size = wide(3, 5, 6), {"voxel_size": ["[1.5, 1.5, 1.5]"] * 3, "voxel_unit": ["angstrom"] * 3}
    one = {"voxel_size": ["[1.5, 1.5, 1.5]"], "voxel_unit": ["angstrom"]}
    small = noise(5, 6).view(np.int8)
    place = [0, 1, 2]
    volumes = signed(2, 3, 5, 6)
    at = {
        "frame": [0, 0, 0, 1, 1, 1],
        "z": place * 2,
        "voxel_size": ["[1.5, 1.5, 1.5]"] * 6,
        "voxel_unit": ["angstrom"] * 6,
    }
    packed = gzip.compress(mrc_bytes(volume))
    return [
        stack("MRC, a volume of uint16", "mrcfile", "a.mrc", mrc_bytes(volume), volume, z=place, **_bottom(3), **size),
        stack(
            "MRC, a stack of images of int16",
            "mrcfile",
            "a.mrcs",
            mrc_bytes(signed(3, 5, 6), ispg=0, mz=1),
            signed(3, 5, 6),
            frame=place,
            **_bottom(3),
            **{**size, "voxel_size": ["[1.5, 1.5, 4.5]"] * 3},
        ),
        stack(
            "MRC, one image of int8",
            "mrcfile",
            "a.mrc",
            mrc_bytes(small),
            small.astype(np.int16)[None],
            **_bottom(1),
            **one,
            stored_dtype=["int8"],
        ),
        stack("MRC, two volumes", "mrcfile", "a.map", mrc_bytes(volumes), volumes.reshape(6, 5, 6), **at, **_bottom(6)),
        stack(
            "MRC, big endian",
            "mrcfile",
            "a.rec",
            mrc_bytes(volume.astype(">u2")),
            volume,
            z=place,
            **_bottom(3),
            **size,
        ),
        stack(
            "MRC, other order of axes",
            "mrcfile",
            "a.map",
            mrc_bytes(volume, mapc=3, maps=1),
            volume,
            plane=place,
            **_bottom(3),
            **size,
            map_axes=["[3, 2, 1]"] * 3,
        ),
        stack("MRC in gzip", "mrcfile, gzip", "a.map.gz", packed, volume, z=place, **_bottom(3), **size),
        stack(
            "MRC, uint8, which mrcfile widens",
            "mrcfile",
            "a.mrc",
            mrc_bytes(noise(5, 6)),
            noise(1, 5, 6).astype(np.uint16),
            **_bottom(1),
            **one,
        ),
        refused("MRC, 32-bit float", "mrcfile", "a.mrc", mrc_bytes(np.ones((4, 5), np.float32)), "32-bit float"),
        refused("MRC, cut in half", "mrcfile", "a.mrc", mrc_bytes(volume)[:1100], "shorter"),
    ]


def nrrd_bytes(samples: np.ndarray, **header: object) -> bytes:
    """Write samples, indexed in the order of the file: the first axis runs fastest."""
    file = BytesIO()
    nrrd.write(file, samples, {name.replace("_", " "): value for name, value in header.items()}, index_order="F")
    return file.getvalue()


def _nrrd() -> list[Case]:
    planes, place = wide(3, 5, 6), [0, 1, 2]
    space = {
        "space": "left-posterior-superior",
        "space_directions": np.diag([1.0, 1.0, 2.5]),
        "space_origin": np.zeros(3),
    }
    stated = {
        "space": ["left-posterior-superior"] * 3,
        "space_directions": ["[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.5]]"] * 3,
        "space_origin": ["[0.0, 0.0, 0.0]"] * 3,
    }
    rgb, tensors = noise(5, 6, 3), wide(2, 5, 6, 3)
    detached = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 6 5\nencoding: raw\ndata file: a.raw\n\n"
    small = noise(5, 6).view(np.int8)
    return [
        stack("NRRD, uint16, raw", "pynrrd", "a.nrrd", nrrd_bytes(planes.T, encoding="raw"), planes, plane=place),
        stack(
            "NRRD, int16 in space, gzip",
            "pynrrd",
            "a.nrrd",
            nrrd_bytes(signed(3, 5, 6).T, **space),
            signed(3, 5, 6),
            z=place,
            **stated,
        ),
        stack(
            "NRRD, RGB",
            "pynrrd",
            "a.nrrd",
            nrrd_bytes(rgb.transpose(2, 1, 0), kinds=["RGB-color", "domain", "domain"]),
            rgb[None],
        ),
        stack(
            "NRRD, one image of uint8, with spacings",
            "pynrrd",
            "a.nrrd",
            nrrd_bytes(rgb[..., 0].T, spacings=[0.5, 0.25]),
            rgb[None, ..., 0],
            spacings=["[0.5, 0.25]"],
        ),
        stack(
            "NRRD, three vectors a pixel",
            "pynrrd",
            "a.nrrd",
            nrrd_bytes(tensors.transpose(3, 2, 1, 0), kinds=["vector", "domain", "domain", "time"]),
            tensors.transpose(0, 3, 1, 2).reshape(6, 5, 6),
            t=[0, 0, 0, 1, 1, 1],
            c=place * 2,
        ),
        stack("NRRD, big endian", "pynrrd", "a.nrrd", nrrd_bytes(planes[0].T.astype(">u2"), endian="big"), planes[:1]),
        stack(
            "NRRD, int8", "pynrrd", "a.nrrd", nrrd_bytes(small.T), small.astype(np.int16)[None], stored_dtype=["int8"]
        ),
        refused("NRRD, 32-bit float", "pynrrd", "a.nrrd", nrrd_bytes(np.ones((4, 5), np.float32)), "float"),
        refused("NRRD, bzip2", "pynrrd", "a.nrrd", nrrd_bytes(planes.T, encoding="bzip2"), "encoding bzip2"),
        refused("NRRD, samples in another file", "bytes by hand", "a.nrrd", detached, "in other files"),
        refused("NRRD, cut in half", "pynrrd", "a.nrrd", nrrd_bytes(planes.T, encoding="raw")[:-60], "shorter"),
    ]
