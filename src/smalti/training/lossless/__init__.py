"""The profile `lossless`: every sample as it was, or within an error that the user allows.

occurring           which samples a collection has    exact_levels : the levels for them
lossless_settings   the sizes of networks and the efforts
lossless_forecast   what an archive will take, without a fit
lossless_training   the profile as a kind of model
"""
