#!/usr/bin/env bash
# pydicom turns the colours of some JPEG frames twice: where the JPEG itself says by an Adobe marker that it is YCbCr.
#
# Versions: pydicom 3.0.2, Pillow 13.0.0, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Without other plugins, pydicom decodes JPEG by Pillow. It asks Pillow not to touch the colours, but only if the file has
# no Adobe marker. If it has one that says YCbCr, Pillow gives RGB, and pydicom, which goes by the tag
# PhotometricInterpretation (YBR_FULL_422), takes that for YCbCr and turns it once more. The same samples under a JFIF
# marker are right. No error, no warning.
#
# It matters to whoever reads DICOM files of cameras and microscopes: the marker is common, and the colours are wrong.
#
# Output seen:
#
#   JFIF marker:  largest error 1
#   Adobe marker: largest error 195

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pydicom==3.0.2 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate

pixels = np.zeros((16, 16, 3), np.uint8)
pixels[:] = [200, 60, 30]
file = io.BytesIO()
Image.fromarray(pixels).save(file, "jpeg", quality=100, subsampling=0)
jfif = file.getvalue()
behind = jfif[4 + int.from_bytes(jfif[4:6], "big") :]
adobe = jfif[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01" + behind  # 1: YCbCr


def largest_error(jpeg: bytes) -> int:
    dataset = pydicom.Dataset()
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PixelRepresentation = 3, 0, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PhotometricInterpretation = 7, "YBR_FULL_422"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset.PixelData = encapsulate([jpeg + bytes(len(jpeg) % 2)])
    dataset["PixelData"].VR = "OB"
    return int(np.abs(dataset.pixel_array.astype(int) - pixels).max())


found = largest_error(jfif), largest_error(adobe)
print("JFIF marker:  largest error", found[0])
print("Adobe marker: largest error", found[1])
if not (found[0] <= 3 and found[1] > 50):
    sys.exit("The behaviour changed.")
END
