"""The one judge of a build: findings, and how they are shown."""
