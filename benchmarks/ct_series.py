"""A series of CT slices without loss: one archive, beside JPEG 2000 and JPEG-LS in DICOM files.

    python -m benchmarks.ct_series --efforts 0 3 -o results/lossless/ct-series.json

The series is made here, from a seed: a body of ellipsoids in Hounsfield units from -1,024 to 3,071, int16, whose noise
is as correlated as a filter of back projection makes it. Its slices are written as plain DICOM files, which `smalti
compress --lossless` reads. Each peer is a DICOM file for each slice, in the compressed transfer syntax, by imagecodecs.
JPEG-LS has no signed samples, so it gets those of the slices plus 1,024, with a rescale intercept, as scanners write
them. Seconds are of one process: to make the files, and to decode them all. smalti uses 2 threads, and so do the peers.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless
from scipy import ndimage

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import run_smalti
from smalti.archive.read.reader import open_archive

SIDE, THREADS, AIR = 512, 2, -1024
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"

# centre and half axes as shares of the side and of the series, turn in degrees, Hounsfield units above what is there
BODIES = (
    ((0.5, 0.5, 0.5), (0.42, 0.31, 2.0), 0, 1064),
    ((0.5, 0.52, 0.5), (0.38, 0.27, 2.0), 0, -70),
    ((0.33, 0.47, 0.35), (0.13, 0.18, 0.42), 12, -800),
    ((0.67, 0.47, 0.35), (0.13, 0.18, 0.42), -12, -800),
    ((0.52, 0.45, 0.4), (0.1, 0.09, 0.25), 30, 90),
    ((0.38, 0.5, 0.8), (0.17, 0.15, 0.3), -20, 75),
    ((0.5, 0.72, 0.5), (0.05, 0.05, 2.0), 0, 450),
    ((0.5, 0.72, 0.5), (0.02, 0.02, 2.0), 0, -380),
    ((0.3, 0.6, 0.8), (0.04, 0.07, 0.12), 10, 130),
    ((0.7, 0.6, 0.8), (0.04, 0.07, 0.12), -10, 130),
    ((0.5, 0.93, 0.5), (0.46, 0.015, 2.0), 0, 380),
)


def series(slices: int, seed: int = 0) -> NDArray[np.int16]:
    """The slices [n, 512, 512]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    texture = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 6)
    made = np.empty((slices, SIDE, SIDE), np.int16)
    for number in range(slices):
        units = np.full((SIDE, SIDE), float(AIR))
        for (x, y, z), (width, height, depth), turn, above in BODIES:
            left = 1 - ((number / slices - z) / depth) ** 2
            if left <= 0:
                continue
            angle = np.deg2rad(turn)
            across = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
            down = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
            inside = 1 - np.sqrt((across / width) ** 2 + (down / height) ** 2) / np.sqrt(left)
            units += above * np.clip(inside * SIDE * min(width, height), 0, 1)  # an edge of about a pixel
        texture = 0.9 * texture + 0.44 * ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 6)
        units += np.where(units > -900, 120 * texture, 0)
        noise = rng.normal(size=(SIDE, SIDE))
        noise = ndimage.gaussian_filter(noise, 0.7) - ndimage.gaussian_filter(noise, 2.5)
        units += noise * (25 + 25 * (units > -300)) / 0.35
        made[number] = np.clip(units.round(), AIR, 3071)
    return made


def measure(arguments: argparse.Namespace) -> Findings:
    """Measure the archive at each effort, and the peers."""
    slices = series(arguments.slices)
    ways: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "series").mkdir()
        for number, pixels in enumerate(slices):
            data = dicom_file(pixels, number, ExplicitVRLittleEndian, pixels.tobytes(), 0)
            (folder / "series" / f"{number:04}.dcm").write_bytes(data)
        size = sum(path.stat().st_size for path in (folder / "series").iterdir())
        ways["DICOM, not compressed"] = {"bytes": size}
        for peer, (encode, decode, syntax, above) in PEERS.items():
            ways[peer] = _peer(slices, encode, decode, syntax, above)
            print(peer, ways[peer], file=sys.stderr, flush=True)
        for effort in arguments.efforts:
            ways[f"smalti, effort {effort}"] = _archive(folder, slices, effort)
            print(effort, ways[f"smalti, effort {effort}"], file=sys.stderr, flush=True)
    best = min(ways[peer]["bytes"] for peer in PEERS)
    for way in ways.values():
        way["of_the_best_peer"] = round(way["bytes"] / best, 3)
        way["bits_a_sample"] = round(8 * way["bytes"] / slices.size, 3)
    return Findings({"slices": len(slices), "shape": [SIDE, SIDE], "dtype": "int16", "threads": THREADS, "ways": ways})


def dicom_file(pixels: NDArray[Any], number: int, syntax: Any, data: bytes, intercept: int) -> bytes:
    """The bytes of a DICOM file with one frame. data : the pixel data, encapsulated if the syntax is compressed"""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CT_IMAGE_STORAGE, syntax
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
    made: Any = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = CT_IMAGE_STORAGE, meta.MediaStorageSOPInstanceUID
    made.Modality, made.PhotometricInterpretation = "CT", "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit = 1, 16, 16, 15
    made.PixelRepresentation = int(pixels.dtype == np.int16)
    made.RescaleSlope, made.RescaleIntercept = 1, intercept
    made.InstanceNumber = number + 1
    made.PixelData = data
    made["PixelData"].VR = "OW" if syntax == ExplicitVRLittleEndian else "OB"
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


PEERS: dict[str, tuple[Callable[..., bytes], Callable[..., Any], Any, int]] = {
    "JPEG 2000 in DICOM": (
        partial(imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", mct=False),
        imagecodecs.jpeg2k_decode,
        JPEG2000Lossless,
        0,
    ),
    "JPEG-LS in DICOM": (imagecodecs.jpegls_encode, imagecodecs.jpegls_decode, JPEGLSLossless, -AIR),
}
"""By name: an encoder, a decoder, the transfer syntax, and what is added to samples so that none is negative."""


def _peer(
    slices: NDArray[np.int16], encode: Callable[..., bytes], decode: Callable[..., Any], syntax: Any, above: int
) -> dict[str, Any]:
    def made(number: int) -> bytes:
        pixels = slices[number] if not above else (slices[number] + above).astype(np.uint16)
        return dicom_file(pixels, number, syntax, encapsulate([encode(pixels)]), -above)

    def read(data: bytes) -> NDArray[Any]:
        frame = pydicom.dcmread(BytesIO(data))
        return np.asarray(decode(next(pydicom.encaps.generate_frames(frame.PixelData, number_of_frames=1))))

    with ThreadPoolExecutor(THREADS) as pool:
        begun = time.perf_counter()
        files = list(pool.map(made, range(len(slices))))
        packed = time.perf_counter()
        found = list(pool.map(read, files))
        ended = time.perf_counter()
    assert all(np.array_equal(one.astype(int) - above, own) for one, own in zip(found, slices, strict=True))
    size = sum(map(len, files))
    return {"bytes": size, "pack_seconds": round(packed - begun, 1), "decode_seconds": round(ended - packed, 1)}


def _archive(folder: Path, slices: NDArray[np.int16], effort: int) -> dict[str, Any]:
    """The archive of the series at an effort, fitted on it."""
    out = folder / f"{effort}.smalti"
    begun = time.perf_counter()
    run_smalti(
        "compress", folder / "series", "-o", out, "--lossless", "--effort", effort, "--threads", THREADS, "--no-compare"
    )
    packed = time.perf_counter()
    with open_archive(out, threads=THREADS) as archive:
        found = archive[:]
    ended = time.perf_counter()
    assert np.array_equal(found, slices), "the archive is not exact"
    return {
        "bytes": out.stat().st_size,
        "pack_seconds": round(packed - begun, 1),
        "decode_seconds": round(ended - packed, 1),
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--efforts", type=int, nargs="+", default=[0, 3])


if __name__ == "__main__":
    harness.main("benchmarks.ct_series", __doc__, declare, measure)
