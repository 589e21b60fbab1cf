"""Data sets: the embedded digits (``detnas_mm.datasets.digits.build``)."""
