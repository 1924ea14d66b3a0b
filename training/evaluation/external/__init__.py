"""External detectors: somebody else's model, as a Python function or an HTTP service, judged like a run."""

from semblance.training.evaluation.external.detector import External, parse
from semblance.training.evaluation.external.notes import ties, told, unchecked
from semblance.training.evaluation.external.sending import announce

__all__ = ["External", "announce", "parse", "ties", "told", "unchecked"]
