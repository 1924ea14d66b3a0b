"""Semblance: a data engine for deepfake detection; the few names that most programs need."""
