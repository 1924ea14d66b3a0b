"""Builds on disk: names, tar files, commits, verification."""
