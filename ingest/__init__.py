"""Ingestion: from collections of videos to committed shards."""
