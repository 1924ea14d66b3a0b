"""One video or one archive from its frames to its rows and crops."""
