"""What a training run leaves on disk and tells its trackers."""
