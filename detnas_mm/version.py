"""The version of the package, and nothing else, so that setup can read it."""

__version__ = '0.1.0'
