"""Ensembles of trained runs, and their calibration."""
