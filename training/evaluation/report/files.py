"""Everything that is written beside the predictions of an evaluation."""

from __future__ import annotations

from semblance.training.evaluation import record
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report import matrices, page, security
from semblance.training.evaluation.report.extras import Extras


def written(result: Evaluation, extras: Extras) -> dict[str, str]:
    """Pages, record and tables, by name."""
    return {
        "evaluation.md": page.markdown(result, extras),
        "evaluation.html": page.html(result, extras),
        "evaluation.json": record.as_json(record.make(result, extras)),
        **matrices.files(result),
        **security.files(extras.attacked, extras.certificates),
    }
