"""Images out of smalti: folders, TAR, Parquet and files of one array."""
