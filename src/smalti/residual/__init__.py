"""Residuals: they bring every image of an archive within its error bound, given what the decoder makes of its tokens.

Everything that decides pixels is integers. Floats may choose residuals, because only the writer does that. In files and
in JSON, residuals are called corrections. Layer: below `archive`, above `decoders`.
"""
