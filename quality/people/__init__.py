"""People estimated from faces: who is in a video, where the dataset does not say."""
