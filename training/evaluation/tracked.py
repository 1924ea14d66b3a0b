"""An evaluation in the trackers of its runs, so that their pages show and compare what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from semblance.manifests.errors import SemblanceError
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.runs import folder, tracking


def log(result: Evaluation, files: Sequence[Path], *, say: Callable[[str], None]) -> None:
    """Nest a run with all figures and the page's ``files`` in each tracked run, and give that run the main figures.

    The main figures are those of whole datasets, e.g. ``test/auc_video/dfdc``. A store that cannot be reached is
    reported, and costs nothing else. Runs in Weights & Biases are not reopened.
    """
    for name, predictor in result.runs.items():
        try:
            record = folder.read_json(predictor.path / "run.json")
            run = tracking.reopen(predictor.path, record)
            if run is None:
                continue
            nested = run.child(f"{result.options.split} of {', '.join(dict.fromkeys(result.videos['dataset']))}")
            nested.describe(
                {"split": result.options.split, "split_column": result.split_column}, {"builds": ", ".join(result.outs)}
            )
            nested.log(0, dict(_figures(result, name, whole=False)))
            run.log(0, dict(_figures(result, name, whole=True)))
            run.close(None)
            try:
                for file in files:
                    nested.attach(file)
            finally:
                nested.close("FINISHED")
        except SemblanceError as error:
            say(f"not tracked: {error}")


def _figures(result: Evaluation, name: str, *, whole: bool) -> Iterator[tuple[str, float | None]]:
    """(metric's name, value) of a model; ``whole``: without the rows of methods and compressions."""
    for row in result.rows:
        if row.model != name or (whole and (row.method is not None or row.compression is not None)):
            continue
        part = [value for value in (row.dataset, row.compression, row.method) if value is not None] or ["all"]
        level = row.level.replace(" (mean)", "_mean")
        for figure, estimate in row.figures.items():
            yield "/".join([result.options.split, f"{figure}_{level}", *part]), estimate.value
