"""From the shards of builds to batches of tensors."""
