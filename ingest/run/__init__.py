"""A build from its start to its end: scheduling, workers, supervision, progress."""
