"""The kind "pyramid": levels of tokens, of which the last ones may be absent; all codes are stored."""
