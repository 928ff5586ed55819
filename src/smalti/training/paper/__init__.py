"""The study's network: one codebook on a grid."""
