"""Weights of other implementations of DetNAS."""

from .convert import ConvertedCheckpoint, convert_checkpoint

__all__ = ['ConvertedCheckpoint', 'convert_checkpoint']
