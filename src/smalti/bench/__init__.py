"""The bench: archives beside classical codecs on the same images, in one run; it fits nothing.

Layer: above the codec, below the study, which takes its codecs, records, tables and look of figures.
"""
