"""Few-shot: supports and queries of different families, equal for both rows, and figures that can be made by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.cli import app
from semblance.training.inference import predictor
from semblance.training.metrics import aggregate
from semblance.training.protocols import adaptation, few_shot
from semblance.training.protocols.few_shot import Asking
from semblance.training.runs import checkpoint
from tests.conftest import once
from tests.training import builds
from tests.training.guard import collections
from tests.training.protocols import small

MAML = ("augment.cutmix.p=0", "augment.mixup.p=0", "regime.kind=maml", "regime.shots=2", "regime.queries=2")
ASKING = Asking(shots=(1, 3), steps=2)


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A source with two methods, and targets with one, of which the second has no val split."""
    methods = {"ffpp": ("Deepfakes", "FaceSwap"), "celebdf": ("swap",), "dfdc": (None,)}

    def make(folder: Path) -> None:
        for name in methods:
            splits = ("train", "test") if name == "dfdc" else ("train", "val", "test")
            plan = builds.Plan(
                dataset=name, families=8, methods=methods[name], compressions=(None,), frames=2, splits=splits
            )
            builds.make(folder / name, plan)

    folder = once(tmp_path_factory, "few-shot-builds", make)
    return [folder / name for name in methods]


def words(outs: list[Path], to: Path, *more: str) -> list[str]:
    """The arguments of a command: the first build is the source."""
    targets = [word for out in outs[1:] for word in ("--target", str(out))]
    sets = [word for one in MAML for word in ("--set", one)]
    return [*small.words(outs[:1], to), *targets, *sets, "--shots", "1,3", "--steps", "2", *more]


@pytest.fixture(scope="module")
def done(outs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The protocol with two seeds; tests only read it."""

    def make(to: Path) -> None:
        result = CliRunner().invoke(app, ["few-shot", *words(outs, to, "--seeds", "0,1")], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "4 runs: maml, plain; seeds 0, 1; 0 of them" in result.output
        (to / "said.txt").write_text(result.output)

    return once(tmp_path_factory, "few-shot", make)


def made(outs: list[Path], seeds: tuple[int, ...] = (0, 1), asking: Asking = ASKING) -> few_shot.FewShot:
    return few_shot.make([str(outs[0])], [str(out) for out in outs[1:]], small.recipe(*MAML), seeds, asking)


def test_the_table_is_that_of_adaptations_by_hand(outs: list[Path], done: Path) -> None:
    """Zero shots are the page's figures; one shot is two steps of SGD on two pictures that are read by hand."""
    lines = json.loads((done / "few-shot.json").read_text())["lines"]
    assert [(one["target"], one["shots"]) for one in lines] == [(t, n) for t in ("celebdf", "dfdc") for n in (0, 1, 3)]
    page = json.loads((done / "benchmark.json").read_text())
    cells = {(cell["row"], cell["column"]): cell for cell in page["cells"]}
    for one in lines:
        if one["shots"] == 0:
            for row in ("maml", "plain"):
                aucs = {figure["level"]: figure["auc"] for figure in cells[row, one["target"]]["figures"]}
                assert np.mean(one[row]) == pytest.approx(aucs["video"])
                assert np.mean(one[f"{row}_frame"]) == pytest.approx(aucs["frame"])
        gaps = np.subtract(one["maml"], one["plain"])
        assert one["difference"]["value"] == pytest.approx(gaps.mean())
        if not one["groups"]:
            assert one["difference"]["low"] == pytest.approx(gaps.min())
            assert one["difference"]["high"] == pytest.approx(gaps.max())
    protocol = made(outs)
    target = protocol.targets[0]
    taken = adaptation.order(target.pool, 1, "celebdf")
    support = adaptation.read(target, [taken[0.0][0], taken[1.0][0]], 32)
    for row in ("maml", "plain"):
        model = checkpoint.trained(done / "runs" / f"{row}-seed1" / "checkpoints" / "best.ckpt").model.eval()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        recipe = small.recipe()
        focal = recipe.loss.focal
        for _ in range(2):
            logit_B = model(support.image_BCHW).logit_B
            target_B = support.target_B
            bce = torch.nn.functional.binary_cross_entropy_with_logits(logit_B, target_B * 0.9 + 0.05)
            p_B = torch.sigmoid(logit_B)
            right_B = torch.where(target_B == 1, p_B, 1 - p_B)
            weight_B = torch.where(target_B == 1, focal.alpha, 1 - focal.alpha)
            loss = 0.8 * bce - 0.2 * (weight_B * (1 - right_B) ** 2 * right_B.log()).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        member = predictor.load(done / "runs" / f"{row}-seed1").members[0]
        by_tool = adaptation.adapted(member, support, protocol.config, 2).trained.model
        expected = dict(model.named_parameters())
        for name, parameter in by_tool.named_parameters():
            torch.testing.assert_close(parameter, expected[name], rtol=1e-4, atol=1e-6)
        pictures = target.asked.pictures
        with torch.no_grad():
            batch = adaptation.read(
                adaptation.Target(
                    out=target.out, name="", pools=(target.asked,), asked=target.asked, videos=target.videos
                ),
                pictures["sample_id"],
                32,
            )
            logit_B = model(batch.image_BCHW).logit_B
        videos = aggregate.videos(pictures.with_columns(logit=pl.Series(logit_B.double().numpy())))
        joined = target.videos.join(videos, on="video_id")
        (line,) = (one for one in lines if (one["target"], one["shots"]) == ("celebdf", 1))
        assert line[row][1] == pytest.approx(aggregate.auc(joined["label"], joined["logit"]))


def test_supports_are_nested_paired_and_of_other_families(outs: list[Path]) -> None:
    for target in made(outs).targets:
        asked = set(target.asked.pictures["family_id"])
        assert not asked & set(target.pool["family_id"])
        taken = adaptation.order(target.pool, 0, target.name)
        of_family = dict(target.pool.select("sample_id", "family_id").iter_rows())
        families = target.pool["family_id"].n_unique()
        for label, samples in taken.items():
            rows = target.pool.filter(pl.col("target") == label)
            assert sorted(samples) == sorted(rows["sample_id"])
            assert len({of_family[name] for name in samples[:families]}) == families
        assert taken == adaptation.order(target.pool.sample(fraction=1, shuffle=True, seed=1), 0, target.name)
        assert taken != adaptation.order(target.pool, 1, target.name)
    assert [sorted({one.split for one in target.pools}) for target in made(outs).targets] == [
        ["train", "val"],
        ["train"],
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40), st.integers(0, 99))
def test_no_family_is_taken_twice_before_all_are(drawn: list[tuple[int, bool]], seed: int) -> None:
    pool = pl.DataFrame(
        {
            "sample_id": [f"s{place:02d}" for place in range(len(drawn))],
            "family_id": [f"f{family}" for family, _ in drawn],
            "target": [float(fake) for _, fake in drawn],
        },
        schema={"sample_id": pl.String, "family_id": pl.String, "target": pl.Float32},
    )
    family = dict(pool.select("sample_id", "family_id").iter_rows())
    for label, samples in adaptation.order(pool, seed, "x").items():
        assert sorted(samples) == sorted(pool.filter(pl.col("target") == label)["sample_id"])
        for count in range(len(samples) + 1):
            times = [[family[name] for name in samples[:count]].count(one) for one in {family[n] for n in samples}]
            whole = [[family[name] for name in samples].count(one) for one in {family[n] for n in samples}]
            assert all(few >= min(max(times), most) - 1 for few, most in zip(times, whole, strict=True))


def test_targets_are_in_no_training(done: Path) -> None:
    for run in sorted((done / "runs").iterdir()):
        records = json.loads((run / "datasets.json").read_text())
        assert [one["dataset"] for one in records] == ["ffpp"]
    recipes = {run.name: json.loads((run / "recipe.json").read_text()) for run in (done / "runs").iterdir()}
    one, other = recipes["maml-seed0"], recipes["plain-seed0"]
    assert {key for key in one if one[key] != other[key]} == {"name", "regime"}
    assert (one["regime"]["kind"], other["regime"]["kind"]) == ("maml", "supervised")


def test_the_same_command_trains_nothing_again_and_says_the_same(outs: list[Path], done: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*.ckpt")}
    found = few_shot.adapt(made(outs), done, lambda _: None, draws=small.DRAWS)
    text = few_shot.write(made(outs), found, tmp_path)
    assert text in (done / "said.txt").read_text()
    assert (tmp_path / "few-shot.json").read_text() == (done / "few-shot.json").read_text()
    assert (tmp_path / "few-shot.txt").read_text() == text + "\n"
    rows = list(csv.reader((done / "few-shot.csv").read_text().splitlines()))
    assert [row[:2] for row in rows[:3]] == [["target", "shots"], ["celebdf", "0"], ["celebdf", "1"]]
    assert {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*.ckpt")} == before


def test_what_cannot_be_compared_is_refused_before_anything(outs: list[Path], tmp_path: Path) -> None:
    named = [str(out) for out in outs]

    def refused(words: str, sources: list[str], targets: list[str], *settings: str, **asked: object) -> None:
        with pytest.raises((UsageError, SemblanceError), match=words):
            few_shot.make(sources, targets, small.recipe(*settings), [0], Asking(**asked))  # type: ignore[arg-type]

    refused("has the regime supervised", named[:1], named[1:])
    refused("is a source and a target", named[:1], named[:1], *MAML)
    refused("at least one source", named[:1], [], *MAML)
    refused("--shots needs", named[:1], named[1:], *MAML, shots=(0,))
    refused("fewer than the 99 of --shots", named[:1], named[1:], *MAML, shots=(99,))
    refused("support and query at once", named[:1], named[1:], *MAML, query="train")
    refused("no labelled picture in val", named[:1], named[2:], *MAML, support=("val",))
    result = CliRunner().invoke(app, ["few-shot", *words(outs, tmp_path / "to", "--shots", "a")])
    assert result.exit_code == 2
    assert not (tmp_path / "to").exists()


def test_what_support_shares_with_the_query_is_refused(outs: list[Path], tmp_path: Path) -> None:
    """People on both sides, where the target's split keeps families apart only."""
    given = collections.videos()
    target = collections.make(tmp_path / "target", given, "split.protocol=family", "seed=1")
    with pytest.raises(SemblanceError, match=r"of test of .* trained on by the adaptation to .*--allow-leaks"):
        few_shot.make([str(outs[0])], [str(target)], small.recipe(*MAML), [0], Asking(shots=(1,)))
