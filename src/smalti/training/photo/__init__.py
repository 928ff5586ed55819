"""The profile `photo`: coefficients of a transform, or levels of pixels, whichever a collection takes less with.

photo_forecast   what a collection would take with each
photo_training   the profile as a kind of model
"""
