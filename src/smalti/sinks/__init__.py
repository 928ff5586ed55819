"""Outputs of images: folders of PNG files, TAR, Parquet, shards, and files of one array."""
