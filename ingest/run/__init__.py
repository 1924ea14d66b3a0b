"""Running a build: scheduling, workers, supervision, progress."""
