"""Export pictures for other software; every module in this folder that registers a format is discovered."""

from semblance.shards.export.registry import FORMATS, Build, Exported, Format, Picture, export, register

FORMATS.discover(__name__, __path__)

__all__ = ["FORMATS", "Build", "Exported", "Format", "Picture", "export", "register"]
