"""Protocols of several trainings: one method left out in turn, and every dataset against every other."""
