"""One reader a dataset layout, one interface for all; a file in this folder that registers a reader is one."""

from __future__ import annotations

from semblance.ingest.sources.registry import SOURCES, register, source

SOURCES.discover(__name__, __path__)

__all__ = ["SOURCES", "register", "source"]
