"""Ensembles of trained runs, and calibration."""
