"""Pictures out of their shards into folders, for code that reads folders."""
