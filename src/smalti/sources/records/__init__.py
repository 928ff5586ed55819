"""Encoded images as records, and sources that decode them one by one."""
