"""Statistics that audits and evaluations share; no torch."""
