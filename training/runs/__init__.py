"""Run folders, checkpoints, and experiment tracking."""
