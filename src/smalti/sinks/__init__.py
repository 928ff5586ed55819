"""Outputs of images: folders of PNG files, TAR, Parquet, and files of one array."""
