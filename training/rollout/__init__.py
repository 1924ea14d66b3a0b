"""A new version beside the old one: who gets which, what happened, and when enough is known to decide."""
