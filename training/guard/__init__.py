"""What a run was trained and selected on, by ids and never by paths, and how its crops were cut."""
