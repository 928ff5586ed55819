"""What other codecs take for the same images at the same quality: AVIF and JPEG XL, for images of any sizes.

`comparison` measures them on a sample, in seconds, beside an archive that was just written; `curves` measures them on
whole sets. Their libraries are optional. Layer: below the codec, which warns by it, and below the bench.
"""
