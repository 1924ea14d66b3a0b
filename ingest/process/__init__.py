"""Processing of one video or archive, from its frames to its rows and crops."""
