"""What an evaluation asks of whatever it judges: a run, an ensemble, or an external detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Scorer(Protocol):
    """A named detector whose logits can become probabilities; ``Predictor`` and ``External`` are two.

    ``datasets``: the builds that it was trained with, as in datasets.json; None if nobody knows.
    ``calibration_families``: families of val that its temperatures were fitted on; no threshold is chosen on them.
    """

    @property
    def name(self) -> str: ...

    @property
    def datasets(self) -> Sequence[Mapping[str, Any]] | None: ...

    @property
    def calibration_families(self) -> frozenset[str]: ...

    def probability(self, logit: Any, level: str) -> Any:
        """The probability of fake for array-like logits; ``level`` is ``frame`` or ``video``."""
        ...
