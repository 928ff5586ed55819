"""All cases, by the sections of the table."""

from inputs import (
    array_files,
    containers,
    folders,
    jpeg_files,
    locations,
    other_files,
    png_files,
    shards,
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
    "Other image files, and files that are none": other_files.cases(),
    "FITS, NIfTI, MRC and NRRD": volume_files.cases(),
    "Folders": folders.cases(),
    "TAR": tars.cases(),
    "Shards of training": shards.cases(),
    "IDX, NPY and NPZ": array_files.cases(),
    "HDF5 and Zarr": containers.cases(),
    "Parquet and Hugging Face datasets": tables.cases(),
    "Archives and URLs": locations.cases(),
}
