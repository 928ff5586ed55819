"""What kinds of model for images of any size share: samples of a source, and packing it to a goal.

sized_fits      efforts, defaults, and what is refused
samples         images in memory, and random crops of them
cell_coder      the contract of what turns images into tokens at a price
price_search    the search for the price that meets a goal
encoding        packing all images of a source
similarity      a goal in SSIM as a mean squared error
forecast        what a collection will take, without a fit
whole_layers    floats of a layer to whole numbers
units           the parts of images that are coded alone
"""
