"""Another protocol laid out from a finished build's manifests and shards alone: no video is opened."""
