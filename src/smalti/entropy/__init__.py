"""From tokens to bytes and back: integer frequencies that are stored, and the coder that they drive.

Nothing here is trained by gradients, and no float decides a symbol. Layer: below `archive`, above `storage`.
"""
