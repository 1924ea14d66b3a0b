"""A trained run as a service: videos and face crops in, verdicts out. It owns no model, decoder or crop of its own."""
