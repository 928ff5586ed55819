"""Where bytes lie: paths and URLs, files that appear whole, bytes by position, temporary data."""
