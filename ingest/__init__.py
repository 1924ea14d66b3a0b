"""The producer: from collections of videos to committed shards."""
