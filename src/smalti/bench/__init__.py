"""The bench: archives beside classical codecs on the same images, in one run.

Layer: above the study, whose runs of codecs, strict JSON and look of figures it takes; it fits nothing.
"""
