"""Weights of other implementations of DetNAS."""

from detnas_mm.models.converters.convert import (
    ConvertedCheckpoint,
    convert_checkpoint,
)

__all__ = ['ConvertedCheckpoint', 'convert_checkpoint']
