"""External detectors: somebody else's model, as a Python function or an HTTP service, judged like a run."""

from semblance.training.evaluation.external.detector import External, parse, ties
from semblance.training.evaluation.external.sending import announce

__all__ = ["External", "announce", "parse", "ties"]
