"""Backbones and their choice blocks."""
