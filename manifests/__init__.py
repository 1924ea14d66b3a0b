"""Rows: the vocabulary, the tables' schemas, storage, splits; no torch, cv2 or dask in here."""

from manifests.store import scan

__all__ = ["scan"]
