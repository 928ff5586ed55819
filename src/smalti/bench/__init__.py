"""The bench: measures archives next to classical codecs on the same images, in one run. It fits no models.

Layer: above the codec, below the study, which uses its codecs, records, tables and style of figures.
"""
