"""Repack a finished build under another split, from its manifests and shards alone; no video is opened."""
