"""Toy parts that the tests share: spaces, records, models and data."""
