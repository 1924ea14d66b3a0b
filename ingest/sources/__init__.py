"""One reader per dataset layout; every module in this folder that registers a reader is discovered."""

from __future__ import annotations

from semblance.ingest.sources.registry import SOURCES, register, source

SOURCES.discover(__name__, __path__)

__all__ = ["SOURCES", "register", "source"]
