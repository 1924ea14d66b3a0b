"""Attacks: pictures that are changed as little as can be seen, and as much as a strength allows, to mislead a model.

One interface for all, in training and evaluation; a file in this folder that registers an attack is one.
"""

from __future__ import annotations

from semblance.training.attacks.base import ATTACKS, EPS, LADDER, Attack, Kind, generators, register
from semblance.training.attacks.target import Target, of_model

ATTACKS.discover(__name__, __path__)

__all__ = ["ATTACKS", "EPS", "LADDER", "Attack", "Kind", "Target", "generators", "of_model", "register"]
