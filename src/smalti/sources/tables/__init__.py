"""Parquet files and objects of Hugging Face `datasets`."""
