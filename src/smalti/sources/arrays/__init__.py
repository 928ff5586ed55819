"""Sources of arrays: `.npy`, `.npz`, IDX, HDF5 and Zarr."""
