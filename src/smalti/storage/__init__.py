"""Where bytes lie: local paths and URLs, positioned reads, files that appear whole, temporary data.

Layer: above `errors` and `lazy` alone. It knows nothing of images or archives.
"""
