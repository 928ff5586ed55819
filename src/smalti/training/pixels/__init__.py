"""Models of the kind `pixels`: levels of samples, and a causal network that expects them.

pixel_settings   the settings and efforts, and the sizes of the network
levels           which samples the levels stand for
learned_pixels   the network with a score for every level, in floats    pixel_export : its integers
learned_mixture  the network of a mixture of curves, in floats    mixture_export : its integers
linear_forecast  the linear forecast of a mixture
fit_pixels       the steps of a fit
pixel_coder      choosing tokens by distortion and bits
exact_coder      tokens without a choice, each image checked
fitted_pixels    the fitted model and its file
pixel_training   the kind
"""
