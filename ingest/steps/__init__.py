"""The steps of one video: frames, pairing, tracks, crops, recompression."""
