"""Where training meets the archive: fit a model on a source, pack a source with a model.

`request` says what is asked, `fit` and `pack` do it, `compress` opens what a user names. The only layer that imports
both torch and the archive; reading needs none of it.
"""
