"""Bytes on disk: names, tar files, commits, verification."""
