"""Weights, temperatures and uncertainty: laws on synthetic logits, then ensembles of very small runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize_scalar

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.ensemble import calibration, fit
from semblance.training.evaluation import evaluate, predictions, thresholds
from semblance.training.evaluation.evaluate import Options
from semblance.training.guard import ids
from semblance.training.inference import mc_dropout, predictor
from semblance.training.inference.predictor import sigmoid
from tests.training import untrained


def drawn(seed: int, count: int = 2000, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn by the probabilities of the logits, which are scaled afterwards."""
    rng = np.random.default_rng(seed)
    logit_N = rng.normal(0, 2, count)
    return (rng.random(count) < sigmoid(logit_N)).astype(float), logit_N * scale


def test_weights_start_at_the_plan_and_favour_the_better_member() -> None:
    label_N, good_N = drawn(0, 600)
    noise = np.random.default_rng(1).normal(0, 3, (2, 600))
    weights = fit.learn(np.stack([noise[0], good_N, noise[1]]), label_N)
    assert sum(weights) == pytest.approx(1)
    assert weights[1] > fit.START[1] + 0.1
    assert weights[0] < fit.START[0]
    same = fit.learn(np.stack([good_N] * 3), label_N)  # nothing to choose: as they start
    assert same == pytest.approx(fit.START, abs=1e-9)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_a_temperature_undoes_a_scale_and_is_the_best(scale: float) -> None:
    label_N, logit_N = drawn(2, scale=scale)
    found = calibration.solve(label_N, logit_N)
    assert found == pytest.approx(scale, rel=0.15)
    best = minimize_scalar(
        lambda log_t: calibration.loss(label_N, logit_N, float(np.exp(log_t))), bounds=(-3, 3), method="bounded"
    )
    assert np.log(found) == pytest.approx(best.x, abs=1e-3)


def test_folds_do_not_divide_families_and_few_families_are_reported() -> None:
    label_N, logit_N = drawn(3, count=300, scale=3)
    families = [f"f{number % 12}" for number in range(300)]
    found = calibration.fit(label_N, logit_N, families)
    assert len(found.folds) == 5
    assert found.note is None
    assert found.after is not None
    assert found.before is not None
    assert found.after < found.before
    assert found.value == pytest.approx(float(np.exp(np.mean(np.log(found.folds)))))
    few = calibration.fit(label_N, logit_N, [f"f{number % 2}" for number in range(300)])
    assert len(few.folds) == 2
    assert few.note is not None
    alone = calibration.fit(label_N, logit_N, ["f"] * 300)
    assert alone.value == pytest.approx(calibration.solve(label_N, logit_N))
    assert (alone.before, alone.after) == (None, None)  # nothing is held out


def test_perfectly_separated_logits_have_no_temperature() -> None:
    found = calibration.fit(np.array([0.0, 0, 1, 1]), np.array([-2.0, -1, 1, 2]), ["a", "b", "a", "b"])
    assert found.value == 1.0
    assert found.folds == ()
    assert found.note is not None


def test_a_fifth_of_the_families_is_reserved() -> None:
    families = [f"f{number}" for number in range(40)]
    reserved = fit.reserve(families)
    assert len(reserved) == 8
    assert reserved == fit.reserve(families[::-1])
    with pytest.raises(SemblanceError, match="only one family"):
        fit.reserve(["a"])


@pytest.fixture(scope="module")
def runs(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("members")
    names = ("one", "two", "three")
    return [untrained.make(folder / name, [ffpp], seed=seed, gain=9) for seed, name in enumerate(names)]


@pytest.fixture(scope="module")
def whole(ffpp: Path, runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("combined") / "all"
    fit.combine([str(ffpp)], [str(run) for run in runs], to, say=lambda _: None)
    return to


def test_an_ensemble_is_evaluated_like_a_run(ffpp: Path, runs: list[Path], whole: Path) -> None:
    found = evaluate.evaluate([str(ffpp)], [*map(str, runs), str(whole)], Options(draws=0), say=lambda _: None)
    one = predictor.load(whole)
    assert sum(one.weights) == pytest.approx(1)
    tables = found.predictions
    for name in ("two", "three", "all"):
        assert tables[name]["sample_id"].equals(tables["one"]["sample_id"])
    mean = sum(weight * tables[run.name]["logit"].to_numpy() for weight, run in zip(one.weights, runs, strict=True))
    np.testing.assert_allclose(tables["all"]["logit"], mean, atol=1e-6)
    np.testing.assert_allclose(tables["all"]["score"], sigmoid(mean / one.frame_temperature), atol=1e-9)
    shutil.rmtree(runs[0].parent / "gone", ignore_errors=True)
    assert all(member.file.is_relative_to(whole) for member in one.members)  # it needs its members' folders no more


def test_few_families_do_not_decide_weights(
    ffpp: Path, runs: list[Path], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample has fewer than ten in val: the weights stay as they start, the plan's for its three models."""
    assert predictor.load(whole).weights == pytest.approx(fit.START)
    monkeypatch.setattr(fit, "LEAST_GROUPS", 1)
    combined = fit.combine([str(ffpp)], [str(run) for run in runs], tmp_path / "learned", say=lambda _: None)
    assert combined.learned
    assert list(combined.weights.values()) != pytest.approx(fit.START)


def test_the_families_for_temperatures_are_used_for_nothing_else(ffpp: Path, whole: Path) -> None:
    one = predictor.load(whole)
    val = evaluate.evaluate([str(ffpp)], [str(whole)], Options(split="val", draws=0), say=lambda _: None)
    assert one.calibration_families
    limits, _ = thresholds.threshold(one, val.predictions["all"], val.videos)
    kept = val.predictions["all"].filter(~pl.col("family_id").is_in(sorted(one.calibration_families)))
    without, _ = thresholds.threshold(one, kept, val.videos)
    assert limits == without


def test_nothing_is_fitted_on_methods_that_no_member_learned(ffpp: Path, whole: Path) -> None:
    """FaceSwap is in val, but in no record of a member: the ensemble may be judged on it as an unseen method."""
    record = predictor.load(whole).seen
    assert record is not None
    videos = predictions.listed_videos([str(ffpp)], "val", "split")
    named = videos.select(pl.lit("video").alias("kind"), scope="dataset", id="video_id")
    fitted = ids.hashed(named).is_in(record.ids.filter(pl.col("kind") == "video")["hash"].implode())
    assert set(videos.filter(~fitted)["method"]) == {"FaceSwap"}
    assert "FaceSwap" not in videos.filter(fitted)["method"]


def test_invalid_ensembles_are_reported_in_one_sentence(
    ffpp: Path, runs: list[Path], whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is not empty"):
        fit.combine([str(ffpp)], [str(runs[0])], whole, say=lambda _: None)
    with pytest.raises(UsageError, match="an ensemble itself"):
        fit.combine([str(ffpp)], [str(whole)], tmp_path / "to", say=lambda _: None)
    with pytest.raises(UsageError, match="Two runs are named"):
        fit.combine([str(ffpp)], [str(runs[0]), str(runs[0])], tmp_path / "to", say=lambda _: None)
    assert not (tmp_path / "to").exists()
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken)
    shutil.copyfile(runs[1] / "checkpoints" / "best.ckpt", next((broken / "members").glob("0-*")))
    with pytest.raises(SemblanceError, match="is not the checkpoint"):
        predictor.load(broken)
    (broken / "ensemble.json").write_text("{}")
    with pytest.raises(SemblanceError, match=r"damaged; run `training ensemble` again"):
        predictor.load(broken)


def test_only_dropout_is_active(runs: list[Path]) -> None:
    model = untrained.model(runs[0])
    image_BCHW = torch.rand(4, 3, 32, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        still_B = model(image_BCHW).logit_B
        drawn_PB = mc_dropout.passes(model, image_BCHW, 64, seed=1)
        again_PB = mc_dropout.passes(model, image_BCHW, 64, seed=1)
        assert torch.equal(drawn_PB, again_PB)
        assert bool((drawn_PB.std(0) > 0).all())
        assert torch.allclose(drawn_PB.mean(0), still_B, atol=float(4 * drawn_PB.std(0).max() / 8))
        with mc_dropout.dropping(model):  # the head's shortcut gives what whole passes give
            torch.manual_seed(1)
            full_PB = torch.stack([model(image_BCHW).logit_B for _ in range(64)])
        assert torch.allclose(full_PB, drawn_PB, atol=1e-5)
        assert torch.equal(model(image_BCHW).logit_B, still_B)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_uncertainty_is_two_standard_deviations_of_the_calibrated_probability(whole: Path) -> None:
    one = predictor.load(whole)
    logits_MNP = np.random.default_rng(0).normal(0, 2, (3, 6, 50))
    pictures = pl.DataFrame({"video_id": ["a", "a", "a", "b", "b", "b"], "person": [0, 0, 1, 0, 0, 0]})
    combined = np.tensordot(one.weights, logits_MNP, 1)
    expected = 2 * sigmoid(combined / one.frame_temperature).std(1)
    np.testing.assert_allclose(mc_dropout.of_pictures(one, list(logits_MNP)), expected)
    persons = np.stack([combined[:2].mean(0), combined[2]]).max(0), combined[3:].mean(0)
    by_video = mc_dropout.of_videos(one, pictures, list(logits_MNP))
    expected = [2 * sigmoid(values / one.video_temperature).std() for values in persons]
    np.testing.assert_allclose(by_video["uncertainty"], expected)
