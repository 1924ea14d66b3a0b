"""Runs under attack against closed forms: linear detectors, whose worst picture within a strength is known."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import Tensor
from typer.testing import CliRunner

from semblance.manifests.errors import UsageError
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.attacks import LADDER
from semblance.training.cli import app
from semblance.training.evaluation import attacked, evaluate, evidence, networks, strikes
from semblance.training.evaluation.attacked import Attacked, Options
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report import page
from semblance.training.evaluation.report.extras import Extras
from semblance.training.evaluation.results import LEVELS, Level
from semblance.training.evaluation.strikes import Strike, Transferred
from semblance.training.inference.predictor import Predictor
from semblance.training.records import Output
from tests.conftest import REPOSITORY
from tests.training import untrained
from tests.training.evaluation import linear

FEW = 24


@pytest.fixture(scope="module")
def run(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("runs") / "net", [ffpp], gain=9)


@pytest.fixture(scope="module")
def base(ffpp: Path, run: Path) -> Evaluation:
    return evaluate.evaluate([str(ffpp)], [str(run)], evaluate.Options(draws=20), say=lambda _: None)


def of(base: Evaluation, *runs: Predictor, threshold: float = 0.0) -> Evaluation:
    """The evaluation as if these runs had been in it."""
    limits: dict[Level, float] = dict.fromkeys(LEVELS, threshold)
    rows = base.predictions["net"]
    return replace(
        base,
        predictors={one.name: one for one in runs},
        predictions={one.name: rows for one in runs},
        thresholds={one.name: limits for one in runs},
    )


def random(seed: int) -> Tensor:
    return torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(seed)) / 32


def centred(base: Evaluation, weight_CHW: Tensor) -> float:
    """The bias at which a linear detector calls about half of the pictures fake."""
    image_NCHW, _ = pictures(base)
    return -float((image_NCHW * weight_CHW).sum((1, 2, 3)).median())


def pictures(base: Evaluation, count: int = FEW) -> tuple[Tensor, np.ndarray]:
    """The slice: pictures and the labels of their faces, -1 where that is not known."""
    chosen = networks.sliced(base.selection, count)
    batches = list(networks.batches(chosen, 32))
    known = dict(chosen.pictures.select("sample_id", pl.col("face_label").fill_null(-1)).iter_rows())
    names = [name for batch in batches for name in batch.sample_ids]
    return torch.cat([batch.image_BCHW for batch in batches]), np.array([known[name] for name in names])


def closed(base: Evaluation, weight_CHW: Tensor, bias: float, threshold: float, eps: float) -> tuple[float, float]:
    """Balanced accuracy and the share of right faces that are turned, in the worst case: every value moves by eps,
    or to the end of [0, 1], against the label."""
    image_NCHW, label_N = pictures(base)
    image_NCHW, label_N = image_NCHW[label_N >= 0].double(), label_N[label_N >= 0]
    side_N = torch.from_numpy(2.0 * label_N - 1)[:, None, None, None]
    worst_NCHW = (image_NCHW - side_N * eps * weight_CHW.sign()).clamp(0, 1)
    right = []
    for many in (image_NCHW, worst_NCHW):
        logit_N = (many * weight_CHW).sum((1, 2, 3)).numpy() + bias
        right.append((logit_N >= threshold) == (label_N == 1))
    balanced = float(np.mean([right[1][label_N == label].mean() for label in (0, 1)]))
    return balanced, float((right[0] & ~right[1]).sum() / right[0].sum())


def frames(found: Attacked, model: str, attack: str) -> list[Strike]:
    rows = [one for one in found.strikes if (one.model, one.attack, one.level) == (model, attack, "frame")]
    return sorted(rows, key=lambda one: one.strength or 0.0)


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_a_linear_run_is_as_robust_as_it_can_be(base: Evaluation, attack: str) -> None:
    weight_CHW = random(0)
    bias, threshold = centred(base, weight_CHW), 0.05
    run = linear.predictor("linear", linear.member("linear", weight_CHW, bias))
    options = Options(names=(attack,), strengths=(0.0005, 0.002, 0.03), pictures=FEW)
    if attack == "pgd":
        options = replace(options, changes={"pgd": {"steps": 40}})
    found = attacked.measure(of(base, run, threshold=threshold), options, say=lambda _: None)
    shares = []
    for one in frames(found, "linear", attack):
        assert one.strength is not None
        robust, turned = closed(base, weight_CHW, bias, threshold, one.strength)
        assert (one.robust.value, one.success.value) == (pytest.approx(robust), pytest.approx(turned))
        shares.append(turned)
    assert 0 < shares[0] < shares[-1]  # the closed form is not trivial


def test_an_ensemble_is_attacked_as_a_whole(base: Evaluation) -> None:
    """Two members that contradict each other: what misleads one pleases the other, and only the sum counts."""
    first_CHW, rest_CHW = 20 * random(1), random(2)
    both_CHW = rest_CHW / 2
    bias = centred(base, both_CHW)
    pair = linear.predictor("pair", linear.member("a", first_CHW, bias), linear.member("b", rest_CHW - first_CHW, bias))
    found = attacked.measure(
        of(base, pair), Options(names=("fgsm",), strengths=(0.001, 0.004), pictures=FEW), say=lambda _: None
    )
    for one in frames(found, "pair", "fgsm"):
        assert one.strength is not None
        robust, turned = closed(base, both_CHW, bias, 0.0, one.strength)
        assert (one.robust.value, one.success.value) == (pytest.approx(robust), pytest.approx(turned))
        assert turned > 0


def test_mirror_images_are_in_the_attacked_logit(base: Evaluation) -> None:
    weight_CHW = random(3)
    even_CHW = (weight_CHW + weight_CHW.flip(2)) / 2
    bias = centred(base, even_CHW)
    run = linear.predictor("mirrored", linear.member("m", weight_CHW, bias, mirror=True))
    found = attacked.measure(of(base, run), Options(names=("fgsm",), strengths=(0.002,), pictures=FEW), say=print)
    (one,) = frames(found, "mirrored", "fgsm")
    assert one.robust.value == pytest.approx(closed(base, even_CHW, bias, 0.0, 0.002)[0])
    assert "mirror images are in the attacked logit" in found.notes[0]


@pytest.fixture(scope="module")
def found(base: Evaluation) -> Attacked:
    options = Options(names=("fgsm", "pgd"), strengths=(0.0, *LADDER)[1:], pictures=FEW)
    return attacked.measure(base, options, say=lambda _: None)


def test_more_strength_is_no_less_harm(found: Attacked) -> None:
    for level in ("frame", "video"):
        rows = [one for one in found.strikes if one.attack == "pgd" and one.level == level]
        assert len(rows) == len(LADDER)
        values = [one.robust.value or 0.0 for one in rows]
        assert values == sorted(values, reverse=True)
        (clean,) = {one.clean.value or 0.0 for one in rows}
        assert values[-1] < clean >= values[0]
    for one, other in zip(frames(found, "net", "pgd"), frames(found, "net", "fgsm"), strict=True):
        assert (one.success.value or 0.0) >= (other.success.value or 0.0)  # an untrained net is smooth


def test_clean_figures_are_those_of_the_evaluation(base: Evaluation, found: Attacked) -> None:
    chosen = networks.sliced(base.selection, FEW)
    rows = networks.judged(base, "net", chosen)
    known = rows.filter(pl.col("face_label").is_not_null())
    right = (known["logit"].to_numpy() >= base.thresholds["net"]["frame"]) == (known["face_label"].to_numpy() == 1)
    one = frames(found, "net", "fgsm")[0]
    assert one.right == right.sum()
    assert (one.reals, one.fakes) == tuple((known["face_label"] == label).sum() for label in (0, 1))


def test_the_slice_is_fixed_and_even(base: Evaluation) -> None:
    chosen = networks.sliced(base.selection, FEW).pictures
    assert chosen.group_by("label").len()["len"].to_list() == [FEW // 2] * 2
    assert chosen["video_id"].n_unique() == min(FEW, base.videos.height) or chosen["video_id"].n_unique() >= FEW // 2
    shuffled = replace(base.selection, pictures=base.selection.pictures.reverse())
    assert set(networks.sliced(shuffled, FEW).pictures["sample_id"]) == set(chosen["sample_id"])
    smaller = set(networks.sliced(base.selection, FEW // 2).pictures["sample_id"])
    assert smaller < set(chosen["sample_id"])
    everything = networks.sliced(base.selection, 10**6).pictures
    assert everything.height == base.selection.pictures.filter(pl.col("label").is_not_null()).height


def test_few_of_a_class_leave_room_for_the_other(base: Evaluation) -> None:
    few = base.selection.pictures.filter(pl.col("label") == 0).head(3)["sample_id"]
    kept = networks.only(base.selection, (pl.col("label") == 1) | pl.col("sample_id").is_in(few.implode()))
    counts = dict(networks.sliced(kept, 20).pictures.group_by("label").len().iter_rows())
    assert counts == {0: 3, 1: 17}


def test_rounded_pictures_stay_within_the_strength() -> None:
    generator = torch.Generator().manual_seed(0)
    image_BCHW = torch.randint(0, 256, (4, 3, 8, 8), generator=generator) / 255
    for eps in LADDER:
        moved_BCHW = (image_BCHW + eps * (2 * torch.rand(image_BCHW.shape, generator=generator) - 1)).clamp(0, 1)
        held_BCHW = attacked.rounded(moved_BCHW, image_BCHW, eps)
        assert float((held_BCHW - image_BCHW).abs().max()) <= eps + 1e-6
        assert torch.equal((held_BCHW * 255).round() / 255, held_BCHW)
        assert float((held_BCHW - moved_BCHW).abs().max()) <= 1 / 255


def test_real_faces_of_a_fake_video_are_left_alone(base: Evaluation) -> None:
    """An attacker who wants a fake video to pass gains nothing from raising the score of another face in it."""
    video = base.videos.filter(pl.col("label") == 1).head(1)
    name = video["video_id"][0]
    rows = pl.DataFrame(
        {
            "video_id": [name] * 2,
            "person": [0, 1],
            "label": [1, 1],
            "face_label": [1, 0],
            "clean": [2.0, -3.0],
            "logit": [-1.0, 5.0],
            "rounded": [-0.5, 5.0],
        }
    )
    table = strikes._of_videos(video, rows, base.runs["net"])
    assert table.select("clean", "logit", "rounded").row(0) == (2.0, -1.0, -0.5)


class Staircase(linear.Linear):
    """Its logit moves in steps, so it has no gradient to speak of."""

    def forward(self, image_BCHW: Tensor) -> Output:
        smooth = super().forward(image_BCHW)
        logit_B = torch.round(smooth.logit_B * 8) / 8 + 0.01
        return Output(logit_B=logit_B, embedding_BD=smooth.embedding_BD)


def test_masked_gradients_are_told(base: Evaluation) -> None:
    weight_CHW = random(4)
    bias = centred(base, weight_CHW)
    open_ = linear.predictor("open", linear.member("open", weight_CHW, bias))
    part = linear.member("masked", weight_CHW, bias)
    masked = linear.predictor("masked", replace(part, trained=replace(part.trained, model=Staircase(weight_CHW, bias))))
    both = of(base, open_, masked)
    said: list[str] = []
    found = attacked.measure(both, Options(names=("fgsm",), strengths=(0.03,), pictures=FEW), say=said.append)
    assert frames(found, "masked", "fgsm")[0].success.value == 0
    (sentence,) = found.masked
    assert sentence.startswith("masked at 0.03: fgsm on open, which does not know its gradients, turns")
    assert any("warning: masked at 0.03" in line for line in said)
    alarms = page.alarms(both, Extras(attacked=found))
    assert [one.kind for one in alarms].count("Masked gradients") == 1


def test_runs_that_share_a_checkpoint_are_not_black_boxes_to_each_other(base: Evaluation) -> None:
    members = [linear.member(name, random(seed), centred(base, random(seed))) for seed, name in enumerate(("a", "b"))]
    runs = [linear.predictor("a", members[0]), linear.predictor("both", *members), linear.predictor("b", members[1])]
    found = attacked.measure(
        of(base, *runs), Options(names=("fgsm",), strengths=(0.03,), pictures=FEW), say=lambda _: None
    )
    assert {(one.model, one.source) for one in found.transferred} == {("a", "b"), ("b", "a")}


def struck(attack: str, success: float) -> Strike:
    some = Estimate(value=0.5)
    return Strike(
        model="m",
        attack=attack,
        strength=0.03,
        level="frame",
        reals=5,
        fakes=5,
        right=8,
        success=Estimate(value=success),
        clean=some,
        robust=some,
        rounded=some,
        distance=None,
    )


@pytest.mark.parametrize(
    ("rows", "others", "warned"),
    [
        ([struck("pgd", 0.5), struck("square", 0.4)], [], False),
        ([struck("pgd", 0.5), struck("square", 0.5)], [], False),
        ([struck("pgd", 0.5), struck("square", 0.6)], [], True),
        ([struck("fgsm", 0.2), struck("pgd", 0.5), struck("square", 0.4)], [], False),
        ([struck("aa-binary", 0.1), struck("square", 0.6)], [], False),  # it holds Square itself
        ([struck("pgd", 0.5)], [0.6], True),
        ([struck("pgd", 0.5)], [0.5], False),
    ],
)
def test_when_gradients_count_as_masked(rows: Sequence[Strike], others: Sequence[float], warned: bool) -> None:
    crossed = [
        Transferred(model="m", source="n", attack="pgd", strength=0.03, right=8, success=value) for value in others
    ]
    assert bool(strikes.masked(rows, crossed)) is warned


def test_without_pairs_the_evidence_is_not_known(base: Evaluation) -> None:
    shares, notes = evidence.measure(base, LADDER, 10, base.videos.filter(pl.col("label") == 0))
    assert shares == []
    assert notes[0].startswith("How much of a fake an attack could undo is not known: ")


def test_the_evidence_within_a_strength_is_counted(base: Evaluation) -> None:
    """A quarter of the values of these fakes is 19 grey levels off their originals, the rest none."""
    shares, notes = evidence.measure(base, (18.9 / 255, 20 / 255), 10, base.videos)
    assert notes == []
    assert sum(one.pairs for one in shares if one.strength < 0.075) == 10
    assert {(one.strength * 255 > 19, one.share, one.whole == one.pairs) for one in shares} == {
        (False, 0.75, False),
        (True, 1.0, True),
    }


@pytest.mark.parametrize(
    ("names", "strengths", "sentence"),
    [
        ("pgd,deepfool", None, "deepfool"),
        (" , ", None, "--attacks names no attack"),
        ("pgd", "0.5,2", "--strengths 2 is not in"),
        ("pgd", "0", "--strengths 0 is not in"),
        ("pgd", "4/0", "--strengths '4/0' is no number"),
        ("pgd", "strong", "--strengths 'strong' is no number"),
        ("pgd", ",", "--strengths names no strength"),
    ],
)
def test_bad_options_are_a_sentence(names: str, strengths: str | None, sentence: str) -> None:
    def read() -> None:
        chosen, ladder = attacked.parse(names, strengths)
        Options(names=chosen, strengths=ladder)

    with pytest.raises(UsageError) as caught:
        read()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_strengths_are_read_as_fractions() -> None:
    assert attacked.parse("pgd, fgsm,pgd", "4/255,1/255, .03") == (("pgd", "fgsm"), (1 / 255, 4 / 255, 0.03))
    assert attacked.parse("pgd")[1] == LADDER
    assert [strikes.shown(one) for one in (*LADDER, None)] == ["1/255", "2/255", "4/255", "0.03", "any"]


def test_who_cannot_be_attacked_is_told_why() -> None:
    small, large = linear.member("small", random(0)), linear.member("large", torch.zeros(3, 48, 48), size=48)
    mixed = linear.predictor("mixed", small, large)
    alone = linear.predictor("small", small)
    able, reasons = networks.able([mixed, alone], "--attacks")
    assert list(able) == ["small"]
    assert "members of mixed take pictures of 32 and 48 px" in reasons[0]
    with pytest.raises(UsageError, match="--attacks has nothing to judge: The members of mixed"):
        networks.able([mixed], "--attacks")


runner = CliRunner()


def test_from_a_run_to_a_page(ffpp: Path, run: Path, tmp_path: Path) -> None:
    other = untrained.make(tmp_path / "other", [ffpp], seed=1, gain=9)
    to = tmp_path / "page"
    command = ["evaluate", "--data", str(ffpp), "--run", str(run), "--run", str(other), "--to", str(to)]
    more = ["--draws", "20", "--attacks", "fgsm,pgd", "--strengths", "1/255,0.03", "--attack-pictures", "12"]
    more += ["--certify", "--samples", "20", "--certify-pictures", "4"]
    done = runner.invoke(app, [*command, *more])
    assert done.exit_code == 0, done.output
    assert "attack pgd on net: 12 pictures at 2 strengths, about 480 passes" in done.output
    assert "certificates of other: 4 pictures x 120 noisy ones, 480 passes" in done.output
    text = (to / "evaluation.md").read_text()
    assert "## Under attack" in text
    assert "## Certified" in text
    written = json.loads((to / "evaluation.json").read_text())
    Draft202012Validator(json.loads((REPOSITORY / "docs/evaluation.schema.json").read_text("utf-8"))).validate(written)
    pgd = [one for one in written["attacks"] if (one["model"], one["attack"], one["level"]) == ("net", "pgd", "frame")]
    under = [f"{one['robust']['value']:.3f} ({name})" for one, name in zip(pgd, ("1/255", "0.03"), strict=True)]
    assert re.search(
        rf"^net +under pgd +{pgd[0]['clean']['value']:.3f} +{re.escape(', '.join(under))}$", done.output, re.MULTILINE
    )
    assert re.search(r"^other +certified +\d\.\d{3} +\d\.\d{3} \(0\.00\), ", done.output, re.MULTILINE)
    assert {len(written[name]) for name in ("attacks", "transferred", "certificates")} == {16, 8, 2}
    table = pl.read_csv(to / "tables" / "attacks.csv")
    assert table["robust"].to_list() == [one["robust"]["value"] for one in written["attacks"]]
    certified = pl.read_csv(to / "tables" / "certified.csv")
    assert certified.height == sum(len(one["points"]) for one in written["certificates"])


VENDOR = "def bright(crops):\n    return [float(crop.mean()) / 255 for crop in crops]\n"


def test_what_cannot_be_done_is_refused_first(ffpp: Path, run: Path, tmp_path: Path) -> None:
    vendor = tmp_path / "vendor.py"
    vendor.write_text(VENDOR)
    to = tmp_path / "page"
    start = ["evaluate", "--data", str(ffpp), "--to", str(to)]
    for more, sentence in (
        (["--run", str(run), "--attacks", "pgd,nothing"], "nothing"),
        (["--run", str(run), "--strengths", "0.03"], "--strengths is of --attacks"),
        (["--run", str(run), "--quick-attacks"], "--quick-attacks is of --attacks"),
        (["--run", str(run), "--attacks", "pgd", "--strengths", "3"], "is not in (0, 1]"),
        (["--run", str(run), "--certify", "--samples", "3"], "can certify nothing"),
        (["--external", f"vendor={vendor}:bright", "--attacks", "pgd"], "vendor is external, so it has no gradients"),
        (["--external", f"vendor={vendor}:bright", "--certify"], "vendor is external"),
    ):
        done = runner.invoke(app, [*start, *more])
        assert (done.exit_code, done.output.count("Error:")) == (2, 1), done.output
        assert sentence in " ".join(done.output.split())
    assert not to.exists()
