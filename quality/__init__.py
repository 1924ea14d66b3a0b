"""Judgement on pixels: decoding, measures, gates, encoding, pictures of what is there."""
