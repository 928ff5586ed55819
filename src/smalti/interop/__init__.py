"""Archives in the formats and the loaders of others, each in a module of its own that needs an extra of its own.

Layer: above `codec`, beside `study`. Nothing is imported here.
"""
