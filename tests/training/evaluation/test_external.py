"""External detectors: somebody else's function or service, judged like a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn import metrics as sk

from semblance.training.data import peek, query
from semblance.training.evaluation import evaluate, external
from semblance.training.evaluation.evaluate import Options

BRIGHTNESS = "def score(pictures):\n    return [float(one.mean()) / 255 for one in pictures]\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("detectors") / "brightness.py"
    written.write_text(BRIGHTNESS)
    return written


def test_its_figures_follow_from_its_answers(ffpp: Path, file: Path) -> None:
    """AUC by frame, by scikit-learn from the pictures themselves."""
    one = external.parse(f"bright={file}:score")
    result = evaluate.evaluate([str(ffpp)], [], Options(draws=0), externals=[one], say=lambda _: None)
    chosen = query.select([str(ffpp)], "test")
    answers = {name: float(image.mean()) / 255 for name, image in peek.images(chosen)}
    label = chosen.pictures["face_label"].to_list()
    expected = sk.roc_auc_score(label, [answers[name] for name in chosen.pictures["sample_id"]])
    (row,) = (one for one in result.rows if one.level == "frame" and one.method is one.compression is None)
    assert row.figures["auc"].value == pytest.approx(expected)
    assert row.mark == "unknown"
    found = dict(result.predictions["bright"].select("sample_id", "score").iter_rows())
    assert {name: found[name] for name in answers} == pytest.approx(answers)
