"""Archives in the formats and the loaders of other libraries. Each module needs an extra of its own.

Layer: above `codec`, beside `study`. This module imports nothing.
"""
