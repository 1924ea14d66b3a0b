"""The consumer: from committed shards to tensors."""
