"""Decoders of tokens on one grid."""
