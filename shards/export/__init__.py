"""Pictures out of their shards, for other people's code; a file in this folder that registers a format is one."""

from semblance.shards.export.registry import FORMATS, Build, Exported, Format, Picture, export, register

FORMATS.discover(__name__, __path__)

__all__ = ["FORMATS", "Build", "Exported", "Format", "Picture", "export", "register"]
