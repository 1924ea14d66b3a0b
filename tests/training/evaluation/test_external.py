"""External detectors that are functions: judged like a run, from their answers alone."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from jsonschema import Draft202012Validator
from sklearn import metrics as sk
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.training.cli import app
from semblance.training.data import peek, query
from semblance.training.evaluation import evaluate, external, robustness
from semblance.training.evaluation.evaluate import Evaluation, Options
from semblance.training.evaluation.external import External
from semblance.training.evaluation.external.function import Function
from semblance.training.inference import predictor
from tests.conftest import REPOSITORY
from tests.training import builds, untrained

runner = CliRunner()
NO_DRAWS = Options(draws=0)
BRIGHTNESS = "def score(pictures):\n    return [float(one.mean()) / 255 for one in pictures]\n"


def of(name: str, call: object) -> External:
    """The function ``call`` of this module as an external detector."""
    return External(name=name, source=Function(text=f"here:{name}", call=call, file=None, sha256=None))  # type: ignore[arg-type]


def brightness(pictures: list[Image]) -> list[float]:
    return [float(one.mean()) / 255 for one in pictures]


def quiet(_: str) -> None:
    pass


def judged(out: Path, *externals: External, runs: tuple[Path, ...] = ()) -> Evaluation:
    return evaluate.evaluate([str(out)], [str(run) for run in runs], NO_DRAWS, externals=externals, say=quiet)


def auc(result: Evaluation, model: str, level: str) -> float | None:
    (row,) = (
        one for one in result.rows if (one.model, one.level, one.method, one.compression) == (model, level, None, None)
    )
    return row.figures["auc"].value


@pytest.fixture(scope="module")
def run(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("runs") / "net", [ffpp], gain=9)


@pytest.fixture(scope="module")
def result(ffpp: Path, run: Path) -> Evaluation:
    return judged(ffpp, of("bright", brightness), runs=(run,))


def auc_by_video(rows: pl.DataFrame, p: np.ndarray) -> float:
    """AUC of the maximum over persons of their mean logit, by Polars and scikit-learn."""
    persons = (
        rows.with_columns(logit=pl.Series(np.log(p / (1 - p))))
        .group_by("video_id", "person")
        .agg(pl.col("logit").mean(), pl.col("label").first())
    )
    videos = persons.group_by("video_id").agg(pl.col("logit").max(), pl.col("label").first())
    return float(sk.roc_auc_score(videos["label"], videos["logit"]))


def test_its_figures_follow_from_its_answers(ffpp: Path, result: Evaluation) -> None:
    """By frame and by video, by NumPy and scikit-learn from the pictures themselves."""
    rows = query.select([str(ffpp)], "test", unlabelled=True).pictures
    answers = {
        name: float(image.mean()) / 255
        for name, image in peek.images(query.select([str(ffpp)], "test", unlabelled=True))
    }
    p = np.array([answers[name] for name in rows["sample_id"]])
    known = rows["face_label"].is_not_null().to_numpy()
    expected = sk.roc_auc_score(rows["face_label"].to_numpy()[known], p[known])
    assert auc(result, "bright", "frame") == pytest.approx(expected)
    assert auc(result, "bright", "video") == pytest.approx(auc_by_video(rows, p))
    found = dict(result.predictions["bright"].select("sample_id", "score").iter_rows())
    assert found == pytest.approx(answers)


def test_it_stands_beside_runs(ffpp: Path, run: Path, result: Evaluation) -> None:
    alone = judged(ffpp, runs=(run,))
    assert result.predictions["net"].equals(alone.predictions["net"])
    assert (list(result.scorers), list(result.runs), list(result.externals)) == (["net", "bright"], ["net"], ["bright"])
    pair = next(one for one in result.pairs if one.dataset == "ffpp")
    assert (pair.first, pair.second) == ("net", "bright")
    first, second = (auc(result, name, "video") for name in ("net", "bright"))
    assert first is not None
    assert second is not None
    assert pair.change.value == pytest.approx(first - second)
    assert {one.model for one in result.transfers if one.source is None} == {"net", "bright"}


def test_a_run_behind_a_function_has_the_figures_of_the_run(ffpp: Path, run: Path) -> None:
    """All rows but their marks, thresholds, robustness: two ways to one score."""
    known = predictor.load(run)

    def same(pictures: list[Image]) -> list[float]:
        return [float(p) for p in known.probability(known.logits(pictures), "frame")]

    found = judged(ffpp, of("copy", same), runs=(run,))
    by_model = {name: [row for row in found.rows if row.model == name] for name in ("net", "copy")}
    assert len(by_model["net"]) == len(by_model["copy"]) > 10
    for one, other in zip(by_model["net"], by_model["copy"], strict=True):
        assert one.threshold == pytest.approx(other.threshold, abs=1e-4)
        assert (one.level, one.dataset, one.compression, one.method) == (
            *(other.level, other.dataset, other.compression, other.method),
        )
        for name, figure in one.figures.items():
            assert figure.value == pytest.approx(other.figures[name].value, abs=1e-4), name
    assert all(pair.change.value == pytest.approx(0, abs=1e-9) for pair in found.pairs)


def test_nobody_claims_to_know_its_training(result: Evaluation) -> None:
    assert {row.mark for row in result.rows if row.model == "bright"} == {"unknown"}
    assert "unknown" not in {row.mark for row in result.rows if row.model == "net"}
    assert result.leaks.unknown == ("bright is external; what it was trained on is not known",)
    assert any("bright is external: it is given crops as the builds hold them" in note for note in result.notes)


def test_its_threshold_is_from_val(ffpp: Path, result: Evaluation) -> None:
    assert result.threshold_sources["bright"] == f"val (column split) of {ffpp}"
    answers = dict(peek.images(query.select([str(ffpp)], "val")))
    rows = query.select([str(ffpp)], "val").pictures
    p = np.array([float(answers[name].mean()) / 255 for name in rows["sample_id"]])
    labels = rows["face_label"].to_numpy()
    best = max(sk.balanced_accuracy_score(labels, p >= limit) for limit in p)
    limit = 1 / (1 + np.exp(-result.thresholds["bright"]["frame"]))
    assert sk.balanced_accuracy_score(labels, p >= limit - 1e-12) == pytest.approx(best)


def test_thresholds_of_other_builds_are_told(dfdc: Path, run: Path, result: Evaluation) -> None:
    """A threshold from val of the evaluated dataset is an advantage over that of another dataset."""
    said = "Thresholds of bright are from val of the evaluated builds"
    other = judged(dfdc, of("bright", brightness), runs=(run,))
    assert [note for note in other.notes if note.startswith(said)]
    assert not [note for note in result.notes if note.startswith(said)]
    assert not [note for note in judged(dfdc, of("bright", brightness)).notes if note.startswith(said)]


def test_without_val_the_threshold_is_a_half(tmp_path: Path) -> None:
    out = builds.make(tmp_path / "out", builds.Plan(splits=("train", "test"), frames=2))
    found = judged(out, of("bright", brightness))
    assert set(found.thresholds["bright"].values()) == {0.0}
    assert found.threshold_sources["bright"] == "no val: probability 0.5"
    assert any("has no val, so its threshold is probability 0.5" in note for note in found.notes)
    assert not [one for one in found.transfers if one.source is None]


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_change_nothing(result: Evaluation, batch: int) -> None:
    asked: list[int] = []

    def counting(pictures: list[Image]) -> list[float]:
        asked.append(len(pictures))
        assert {(one.shape, one.dtype) for one in pictures} == {((builds.SIDE, builds.SIDE, 3), np.dtype(np.uint8))}
        return brightness(pictures)

    found = of("bright", counting).outputs(result.selection, batch=batch)
    expected = dict(result.predictions["bright"].select("sample_id", "logit").iter_rows())
    assert dict(found.iter_rows()) == expected
    assert max(asked) == min(batch, result.selection.pictures.height)
    assert sum(asked) == result.selection.pictures.height


def test_hard_decisions_are_ties(ffpp: Path) -> None:
    """AUC of scikit-learn, which counts ties as half; and a note with their number."""

    def hard(pictures: list[Image]) -> list[bool]:
        return [bool(one.mean() > 127) for one in pictures]

    found = judged(ffpp, of("hard", hard))
    table = found.predictions["hard"].drop_nulls("face_label")
    assert table["logit"].n_unique() == 2
    expected = sk.roc_auc_score(table["face_label"], table["score"] > 0.5)
    assert auc(found, "hard", "frame") == pytest.approx(expected)
    count = found.selection.pictures.height
    assert any(f"{count} of its {count} probabilities are 0 or 1" in note for note in found.notes)


def test_only_the_ends_are_clipped() -> None:
    found = of("some", lambda _: [0, 1, 1e-300, 2e-7, 0.5])._ask(list("abcde"), [None] * 5)
    end = float(np.log((1 - 1e-7) / 1e-7))
    assert found == pytest.approx([-end, end, -end, np.log(2e-7 / (1 - 2e-7)), 0], abs=1e-8)


@pytest.mark.parametrize(("ends", "told"), [(1, False), (2, True)])
def test_more_than_one_tie_in_a_hundred_is_told(ends: int, told: bool) -> None:
    one = of("some", lambda _: [*[1 - 1e-9] * ends, *np.linspace(0.1, 0.9, 100 - ends)])
    logits = one._ask([str(number) for number in range(100)], [None] * 100)
    assert (external.ties("some", pl.Series(logits)) is not None) == told


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([0.5], "it returned numbers of shape (1,)"),
        ([[0.5, 0.5], [0.1, 0.9]], "numbers of shape (2, 2)"),
        ([0.5, float("nan")], "it returned nan for b"),
        ([0.5, None], "it returned nan for b"),
        ([-0.1, 0.5], "it returned -0.1 for a; apply a sigmoid"),
        ([0.5, 2.5], "it returned 2.5 for b"),
        (["0.1", "0.5"], "no numbers"),
        ({"a": 0.1, "b": 0.2}, "no numbers"),
        (None, "no numbers"),
        ([[0.1], [0.2, 0.3]], "it returned a list that is no array of numbers"),
        (torch.zeros(2, requires_grad=True), "it returned a Tensor that is no array of numbers"),
    ],
)
def test_wrong_answers_are_refused(answer: object, said: str) -> None:
    with pytest.raises(SemblanceError, match="The external detector odd must return a probability") as caught:
        of("odd", lambda _: answer)._ask(["a", "b"], [None, None])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [[[0.25], [0.5]], torch.tensor([0.25, 0.5]), np.array([0.25, 0.5], np.float32), (0.25, 0.5)]
)
def test_usual_forms_are_taken(answer: object) -> None:
    found = of("fine", lambda _: answer)._ask(["a", "b"], [None, None])
    assert found == pytest.approx([np.log(1 / 3), 0.0])


def test_an_exception_is_a_sentence(ffpp: Path, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("def score(pictures):\n    raise ValueError('no\\nweights')\n")
    with pytest.raises(SemblanceError) as caught:
        judged(ffpp, external.parse(f"odd={file}:score"))
    assert str(caught.value) == (
        "The external detector odd failed on a batch of 32 pictures: ValueError: no weights (broken.py, line 2); fix "
        f"{file}:score."
    )


def test_names_are_told_apart(ffpp: Path, run: Path) -> None:
    with pytest.raises(UsageError, match="Two detectors are named 'net'"):
        judged(ffpp, of("net", brightness), runs=(run,))
    with pytest.raises(UsageError, match="There is nothing to evaluate"):
        judged(ffpp)


def test_robustness_needs_pictures_only(ffpp: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUC before and after, from pictures that are read and degraded here."""
    monkeypatch.setattr(robustness, "JPEG", ())
    monkeypatch.setattr(robustness, "SCALES", (0.25,))

    def contrast(pictures: list[Image]) -> list[float]:
        return [float(np.diff(one.astype(float), axis=0).std()) / 255 for one in pictures]

    result = judged(ffpp, of("sharp", contrast), runs=(run,))
    found = {one.model: one for one in robustness.robustness(result, say=quiet)}
    assert list(found) == ["net", "sharp"]
    chosen = query.select([str(ffpp)], "test", unlabelled=True)
    transform = robustness.degradations()[0][2]
    changed = {name: contrast([transform(image, None, "")])[0] for name, image in peek.images(chosen)}
    after = auc_by_video(chosen.pictures, np.array([changed[name] for name in chosen.pictures["sample_id"]]))
    assert found["sharp"].before.value == auc(result, "sharp", "video")
    assert found["sharp"].after.value == pytest.approx(after)
    assert found["sharp"].after.value != found["sharp"].before.value
    same = {one.model: one for one in robustness.builds(result, [f"same={ffpp}"], say=quiet)}
    assert same["sharp"].change.value == 0


def test_from_a_module_to_a_page(ffpp: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("semblance_test_bright.py").write_text(BRIGHTNESS)
    command = ["evaluate", "--data", str(ffpp), "--external", "bright=semblance_test_bright:score", "--draws", "20"]
    refused = runner.invoke(app, command)
    assert (refused.exit_code, refused.output.count("Error:")) == (2, 1)
    assert "name one with --to" in refused.output
    alone = runner.invoke(app, [*command, "--to", "alone", "--cost", "--passes", "2", "--no-pictures"])
    assert alone.exit_code == 0, alone.output
    assert "not timed: bright, as external" in alone.output
    done = runner.invoke(app, [*command, "--run", str(run), "--to", "page"])
    assert done.exit_code == 0, done.output
    written = json.loads(Path("page/evaluation.json").read_text())
    Draft202012Validator(json.loads((REPOSITORY / "docs/evaluation.schema.json").read_text("utf-8"))).validate(written)
    sha256 = hashlib.sha256(BRIGHTNESS.encode()).hexdigest()
    assert [(one["name"], one["kind"]) for one in written["runs"]] == [("net", "run"), ("bright", "external")]
    assert written["runs"][1]["external"] == {
        "kind": "function",
        "source": "semblance_test_bright:score",
        "file": "semblance_test_bright.py",
        "sha256": sha256,
    }
    text = Path("page/evaluation.md").read_text()
    assert f"| bright | function | semblance_test_bright:score | semblance_test_bright.py {sha256[:12]} |" in text
    assert "the best of 2 detectors" in text
    assert Path("page/evaluation.html").exists()
    assert set(pl.read_parquet("page/predictions.parquet")["model"]) == {"net", "bright"}
    nothing = runner.invoke(app, ["evaluate", "--data", str(ffpp), "--to", "none"])
    assert (nothing.exit_code, Path("none").exists()) == (2, False)
    assert "name a run with --run" in nothing.output
