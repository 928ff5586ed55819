"""From tokens to bytes and back: stored integer frequencies and the coder that they drive.

Nothing here is learned by gradient and no float decides a symbol. Layer: below `archive`, above `errors`.
"""
