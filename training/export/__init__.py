"""Runs as files for other software; every module in this folder that registers a format is discovered."""

from semblance.training.export.registry import FORMATS, Format, Pictures, register
from semblance.training.export.run import Exported, export

FORMATS.discover(__name__, __path__)

__all__ = ["FORMATS", "Exported", "Format", "Pictures", "export", "register"]
