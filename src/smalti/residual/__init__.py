"""What makes every image of an archive as good as was promised: corrections of what the decoder gives.

All of it is integers; which corrections to choose may be decided by floats, since that is the writer's affair alone.
Layer: below `archive`, above `entropy`.
"""
