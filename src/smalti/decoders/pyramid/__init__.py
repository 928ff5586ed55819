"""The kind "pyramid": levels of tokens, of which the last may be absent. Archives store all codes."""
