"""Attacks: pictures that are changed as little as can be seen, and as much as a strength allows, to mislead a model."""
