"""TAR files and WebDataset shards."""
