"""What the bytes of a file mean: its fixed pieces, header, frames, columns and limits (docs/format.md)."""
