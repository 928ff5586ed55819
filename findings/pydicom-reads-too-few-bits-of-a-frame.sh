#!/usr/bin/env bash
# pydicom cannot read some frames of a 1-bit DICOM file one by one, although it reads all of them together.
#
# Versions: pydicom 3.0.2, NumPy 2.4.6; Python 3.11.7 on Linux x86-64.
#
# Frames of single bits follow each other without gaps, so that a frame may begin within a byte. pydicom reads as many bytes
# for it as a frame that begins with a byte needs. If the frame also ends within a further byte, its last bits are
# missing: `pixel_array(file, index=2)` fails for 3 frames of 5 x 7. `pixel_array(file)` is right.
#
# It matters to whoever reads segmentations frame by frame to save memory: it works for sizes that are multiples of 8 bits.
#
# Output seen:
#
#   all at once: equal
#   frame 0: equal
#   frame 1: equal
#   frame 2: cannot reshape array of size 34 into shape (5,7)

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, sys
import numpy as np
import pydicom
from pydicom.pixels import pixel_array

bits = np.random.default_rng(0).integers(0, 2, (3, 5, 7), dtype=np.uint8)
packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
dataset = pydicom.Dataset()
dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
dataset.NumberOfFrames, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = bits.shape + (1,)
dataset.BitsAllocated = dataset.BitsStored = 1
dataset.HighBit, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, 0, "MONOCHROME2"
dataset.PixelData = packed + bytes(len(packed) % 2)
dataset["PixelData"].VR = "OB"
dataset.file_meta = pydicom.dataset.FileMetaDataset()
dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
file = io.BytesIO()
pydicom.dcmwrite(file, dataset, enforce_file_format=True)


def told(index: int | None, expected: np.ndarray) -> str:
    try:
        return "equal" if np.array_equal(pixel_array(io.BytesIO(file.getvalue()), index=index), expected) else "wrong"
    except ValueError as error:
        return str(error)


found = [told(None, bits), *(told(index, bits[index]) for index in range(3))]
for name, words in zip(("all at once", "frame 0", "frame 1", "frame 2"), found, strict=True):
    print(f"{name}: {words}")
if not (found[:3] == ["equal"] * 3 and "cannot reshape" in found[3]):
    sys.exit("The behaviour changed.")
END
