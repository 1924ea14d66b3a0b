"""The training recipes: one file each."""
