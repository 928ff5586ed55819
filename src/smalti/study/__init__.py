"""The codebook study: runs, baselines, statistics, figures and report."""
