"""Hooks of training and search."""
