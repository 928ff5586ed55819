"""The kind `pixels`: images of any size as samples, each coded by what a network expects of it from those before.

pixel_network    the numbers of the network, with every check    pixel_packing : their bytes
wavefront        the order in which the pixels of many pictures are decoded at once
pixel_prior      codes the samples    pixel_kernel, network_kernel : the same, compiled
mixture          curves over levels in whole numbers, for many levels
mixture_network, mixture_packing, mixture_prior : the same for them
mixture_kernel   compiled: the walk and the coder    mixture_seen_kernel, mixture_network_kernel : its steps
mixture_lines    what these work on
pixel_model      tokens to pixels
pixel_kind       the kind
"""
