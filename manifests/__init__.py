"""Rows: the vocabulary, the tables' schemas, storage, splits; no torch, cv2 or dask in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semblance.manifests.tables import scan

__all__ = ["scan"]


def __getattr__(name: str) -> Any:
    """Load Polars when ``manifests.scan`` is first used: ``--help`` stays quick."""
    if name == "scan":
        from semblance.manifests.tables import scan

        return scan
    raise AttributeError(f"module 'manifests' has no attribute {name!r}")
