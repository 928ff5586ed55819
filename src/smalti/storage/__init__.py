"""Where bytes lie: local paths and URLs, reads by position, atomic files, temporary data.

It knows nothing of images or archives. Layer: above `errors` and `lazy`.
"""
