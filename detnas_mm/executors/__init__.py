"""Executors: paths in, results out."""
