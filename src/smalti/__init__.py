"""smalti: learned compression for collections of images."""

__version__ = "0.1.0"
