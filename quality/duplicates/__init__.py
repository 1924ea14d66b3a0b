"""Near-duplicate videos: found by perceptual hash, confirmed on pixels."""
