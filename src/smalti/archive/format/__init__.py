"""The bytes of an archive: fixed-size parts, header, frames, columns and limits (docs/format.md)."""
