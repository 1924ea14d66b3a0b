"""How good the scores of a model are, and how certain that is."""
