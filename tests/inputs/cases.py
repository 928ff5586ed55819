"""All cases, by the sections of the table."""

from inputs import (
    animations,
    array_files,
    codec_files,
    containers,
    dicom_files,
    folders,
    jpeg_files,
    lmdb_files,
    locations,
    netpbm_files,
    ome_stores,
    other_files,
    png_files,
    record_shards,
    shards,
    shipped_dicom,
    tables,
    tars,
    tiff_files,
    tiff_stacks,
    volume_files,
)
from inputs.table import Sections

__all__ = ["SECTIONS"]

SECTIONS: Sections = {
    "PNG": png_files.cases(),
    "JPEG": jpeg_files.cases(),
    "TIFF": tiff_files.cases(),
    "TIFF of several images": tiff_stacks.cases(),
    "Animations": animations.cases(),
    "JPEG XL, AVIF, HEIC, JPEG 2000, QOI and DDS": codec_files.cases(),
    "Netpbm": netpbm_files.cases(),
    "Other image files, and files that are none": other_files.cases(),
    "DICOM": [*dicom_files.cases(), *shipped_dicom.cases()],
    "FITS, NIfTI, MRC and NRRD": volume_files.cases(),
    "Folders": folders.cases(),
    "TAR": tars.cases(),
    "Shards of training": [*shards.cases(), *record_shards.cases(), *lmdb_files.cases()],
    "OME-Zarr": ome_stores.cases(),
    "IDX, NPY and NPZ": array_files.cases(),
    "HDF5 and Zarr": containers.cases(),
    "Parquet and Hugging Face datasets": tables.cases(),
    "Archives and URLs": locations.cases(),
}
