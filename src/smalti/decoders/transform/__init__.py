"""The kind `transform`: images of any size as quantised coefficients of a learned lapped transform.

tokens               coefficients as tokens
cells                the cells of pictures, their neighbours, and the order in which they are decoded
transform_network    the numbers that turn tokens into pixels    transform_packing : their bytes
transform_model      tokens to pixels    transform_kernel : the same, compiled
prior_network        the numbers that give each token its distribution, and their bytes
transform_prior      codes the tokens    prior_kernel : the same, compiled
transform_kind       the kind
"""
