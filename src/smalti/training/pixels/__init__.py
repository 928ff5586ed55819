"""Models of the kind `pixels`: levels of samples, and a causal network that expects them.

pixel_settings   the settings and efforts, and the sizes of the network
levels           which samples the levels stand for
learned_pixels   the network in floats    pixel_export : its integers
fit_pixels       the steps of a fit
pixel_coder      choosing tokens by distortion and bits
fitted_pixels    the fitted model and its file
pixel_training   the kind
"""
