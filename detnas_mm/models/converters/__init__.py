"""Weights of other implementations of DetNAS."""
