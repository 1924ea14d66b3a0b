"""Models with versions, lineage, signatures and aliases, in MLflow's registry."""
