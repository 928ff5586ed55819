"""The codebook study: runs, baselines, statistics, figures and report. Layer: above the bench."""
