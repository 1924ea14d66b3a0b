"""Trained runs applied to pictures and videos."""
