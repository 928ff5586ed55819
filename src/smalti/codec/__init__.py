"""Where training meets the archive: fit a model on a source, pack a source with a model.

The only layer that imports both torch and the archive; reading needs none of it.
"""
