"""Records, table schemas, storage and splits; imports no torch, cv2 or dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semblance.manifests.tables import scan

__all__ = ["scan"]


def __getattr__(name: str) -> Any:
    """Load Polars when ``manifests.scan`` is first used: ``--help`` stays fast."""
    if name == "scan":
        from semblance.manifests.tables import scan

        return scan
    raise AttributeError(f"module 'manifests' has no attribute {name!r}")
