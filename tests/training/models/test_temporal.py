"""The temporal head: laws of its pooling, a frozen frame model, and runs of it judged like any other."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import models, recipes
from semblance.training.data import isolation, peek, query
from semblance.training.ensemble import fit as ensembles
from semblance.training.evaluation import cost, evaluate, seeds
from semblance.training.evaluation.evaluate import Options
from semblance.training.evaluation.seeds import Seeds
from semblance.training.guard import seen
from semblance.training.inference import mc_dropout, predictor
from semblance.training.inference.predictor import selection_outputs
from semblance.training.models import Model
from semblance.training.models.temporal import Attention, Temporal, TemporalConfig, positions
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir, read_lines
from tests.conftest import HANG, REPOSITORY
from tests.training import builds, clip_runs, untrained
from tests.training.clip_runs import recipe, train
from tests.training.export import runs as export_runs

T = 3
POOLINGS = ("mean", "attention", "transformer")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames with a cut after the third, and a second face in the fakes of one family."""
    return builds.make(tmp_path_factory.mktemp("builds") / "out", builds.Plan(frames=5, cut=15))


@pytest.fixture(scope="module")
def frame(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("runs") / "frame", [out], gain=9)


@pytest.fixture(scope="module")
def trained(out: Path, frame: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(out, tmp_path_factory.mktemp("runs") / "clip", recipe(frame, "model.pooling=transformer"))


def made(frame: Path, pooling: str, *, drawn: bool = True) -> Temporal:
    return clip_runs.model(frame, f"model.pooling={pooling}", drawn=drawn)


def pictures(clips: int, length: int = T) -> torch.Tensor:
    return torch.rand(clips * length, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_starts_as_the_frame_model(frame: Path, pooling: str) -> None:
    """The mean of embeddings through the frame model's linear layer is the mean of its logits."""
    model, image_BCHW = made(frame, pooling, drawn=False), pictures(4)
    with torch.inference_mode():
        expected_U = untrained.model(frame)(image_BCHW).logit_B.view(4, T).mean(1)
        found = model(image_BCHW)
    assert torch.allclose(found.logit_B, expected_U, atol=1e-5)
    assert found.embedding_BD.shape == (4, model.embedding_dim)


def test_it_starts_as_f3net_too(out: Path, tmp_path: Path) -> None:
    """Its last layer has a spectral norm and stands in no ``Head``."""
    frame = export_runs.make(tmp_path / "f3net", out, "f3net")
    model, image_BCHW = made(frame, "transformer", drawn=False), pictures(2)
    with torch.inference_mode():
        expected_U = untrained.model(frame)(image_BCHW).logit_B.view(2, T).mean(1)
        assert torch.allclose(model(image_BCHW).logit_B, expected_U, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_only_the_transformer_sees_the_order(frame: Path, pooling: str) -> None:
    model, image_BCHW = made(frame, pooling), pictures(2)
    shuffled = image_BCHW.view(2, T, 3, 32, 32)[:, [2, 0, 1]].flatten(0, 1)
    with torch.inference_mode():
        same = torch.allclose(model(image_BCHW).logit_B, model(shuffled).logit_B, atol=1e-5)
    assert same == (pooling != "transformer")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_clip_is_scored_alone(frame: Path, pooling: str) -> None:
    model, image_BCHW = made(frame, pooling), pictures(3)
    with torch.inference_mode():
        together = model(image_BCHW).logit_B
        alone = torch.cat([model(clip).logit_B for clip in image_BCHW.split(T)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_attention_is_that_of_the_paper() -> None:
    """Ilse et al. 2018, equations 7 and 8, one number after another in float64."""
    torch.manual_seed(0)
    pool = Attention(6, 8).double()
    nn.init.normal_(pool.score.weight)
    embedding_UTD = torch.randn(2, 4, 6, dtype=torch.float64)
    norm, hidden, _ = pool.hidden
    with torch.no_grad():
        found = pool(embedding_UTD)
        for clip, rows in enumerate(embedding_UTD):
            scores = []
            for row in rows:
                scaled = (row - row.mean()) / (row.var(unbiased=False) + norm.eps).sqrt()
                scores.append(float(pool.score.weight[0] @ torch.tanh(hidden.weight @ scaled + hidden.bias)))
            weights = np.exp(scores) / np.exp(scores).sum()
            expected = sum(weight * row.numpy() for weight, row in zip(weights, rows, strict=True))
            assert np.allclose(found[clip].numpy(), expected, atol=1e-6)  # weights are in float32


def test_positions_are_sines_and_cosines() -> None:
    found = positions(5, 8)
    for place in range(5):
        for pair in range(4):
            angle = place / 10_000 ** (2 * pair / 8)
            assert found[place, 2 * pair] == pytest.approx(np.sin(angle), abs=1e-6)
            assert found[place, 2 * pair + 1] == pytest.approx(np.cos(angle), abs=1e-6)


def hashes(model: nn.Module) -> dict[str, str]:
    return {
        name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        for name, value in model.state_dict().items()
    }


def test_training_changes_the_head_and_nothing_of_the_frame_model(frame: Path, trained: Path) -> None:
    """Statistics of batch norms too, which training mode would move."""
    model = untrained.model(trained)
    assert isinstance(model, Temporal)
    before = hashes(untrained.model(frame))
    assert any("running_mean" in name for name in before)
    assert hashes(model.frame) == before
    start = hashes(made(frame, "transformer", drawn=False))
    changed = {name for name, value in hashes(model).items() if value != start[name]}
    assert changed
    assert not [name for name in changed if name.startswith("frame.")]
    assert {"head.linear.weight", "pool.leave.1.weight"} <= changed
    assert not any(one.training for one in model.train().frame.modules())


def test_a_checkpoint_holds_the_head_and_the_hash_of_the_rest(frame: Path, trained: Path) -> None:
    state = checkpoint.load(trained / "checkpoints" / "best.ckpt")
    assert not [name for name in state["model"] if name.startswith("frame.")]
    assert state["base"]["source"] == str(frame)


class Stop(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise ZeroDivisionError


def test_a_resumed_run_is_the_same(out: Path, frame: Path, trained: Path, tmp_path: Path) -> None:
    one = recipe(frame, "model.pooling=transformer")
    last = len(read_lines(RunDir(trained).steps))
    with pytest.raises(ZeroDivisionError):
        train(out, tmp_path / "run", one, save_every=1, callbacks=[Stop(last - 2)])
    train(out, tmp_path / "run", one, resume=True)
    for file in ("best.ckpt", "last.ckpt"):
        first, second = (checkpoint.load(run / "checkpoints" / file) for run in (trained, tmp_path / "run"))
        assert first["model"].keys() == second["model"].keys()
        assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())
    assert read_lines(RunDir(trained).epochs) == read_lines(RunDir(tmp_path / "run").epochs)


def clips_of(rows: pl.DataFrame, length: int) -> list[list[str]]:
    """The clips of each person, written anew: ids in time order, cut from the front, the last one from the end."""
    persons: dict[tuple[str, int], list[tuple[int, str]]] = defaultdict(list)
    for video, person, place, name in rows.select("video_id", "person", "frame_index", "sample_id").iter_rows():
        persons[video, person].append((place, name))
    clips = []
    for found in persons.values():
        names = [name for _, name in sorted(found)]
        if len(names) < length:
            clips.append([names[i * len(names) // length] for i in range(length)])
            continue
        starts = list(range(0, len(names) - length + 1, length))
        if starts[-1] + length < len(names):
            starts.append(len(names) - length)
        clips += [names[start : start + length] for start in starts]
    return clips


def expected_logits(model: Model, out: Path, split: str, length: int, *, mirror: bool = False) -> dict[str, float]:
    """Each picture's mean logit of its clips, from the decoded crops."""
    selection = query.select([str(out)], split, unlabelled=True)
    images = {
        name: torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255 for name, image in peek.images(selection)
    }
    values: dict[str, list[float]] = defaultdict(list)
    with torch.inference_mode():
        for clip in clips_of(selection.pictures, length):
            batch = torch.stack([images[name] for name in clip])
            logit = float(model(batch).logit_B)
            logit = (logit + float(model(batch.flip(3)).logit_B)) / 2 if mirror else logit
            for name in set(clip):
                values[name].append(logit)
    return {name: float(np.mean(found)) for name, found in values.items()}


@pytest.mark.parametrize("mirror", [False, True])
def test_evaluation_gives_every_picture_the_mean_of_its_clips(
    out: Path, frame: Path, trained: Path, tmp_path: Path, mirror: bool
) -> None:
    run = trained
    if mirror:
        one = recipe(frame, "model.pooling=transformer", "tta=mirror", "epochs=1", "schedule.warmup_epochs=0")
        run = train(out, tmp_path / "mirrored", one)
    result = evaluate.evaluate([str(out)], [str(run), str(frame)], Options(draws=0), say=lambda _: None)
    found = dict(result.predictions[run.name].select("sample_id", "logit").iter_rows())
    expected = expected_logits(untrained.model(run), out, "test", T, mirror=mirror)
    assert found.keys() == expected.keys() == set(result.predictions["frame"]["sample_id"])
    assert found == pytest.approx(expected, abs=1e-4)
    assert any("clips of 3" in note for note in result.notes)


def test_videos_with_fewer_faces_than_a_clip_keep_their_score(out: Path, frame: Path, tmp_path: Path) -> None:
    """Five faces a person, clips of seven in evaluation; those of training come from another build."""
    long = builds.make(tmp_path / "long", builds.Plan(dataset="celebdf", frames=8, methods=(None, None)))
    run = train(long, tmp_path / "run", recipe(frame, length=7))
    result = evaluate.evaluate(
        [str(out)], [str(run)], Options(draws=0, split="val", allow_leaks=True), say=lambda _: None
    )
    found = dict(result.predictions["run"].select("sample_id", "logit").iter_rows())
    assert found == pytest.approx(expected_logits(untrained.model(run), out, "val", 7), abs=1e-4)
    videos = next(row for row in result.rows if row.level == "video")
    assert videos.scored == videos.listed
    assert "unseen dataset" not in {row.mark for row in result.rows}  # by the frame model, if not by the head


def test_validation_is_over_all_pictures(out: Path, trained: Path) -> None:
    """The figures of an epoch are those of the best checkpoint evaluated on val."""
    figures = checkpoint.load(trained / "checkpoints" / "best.ckpt")["figures"]
    result = evaluate.evaluate(
        [str(out)], [str(trained)], Options(draws=0, split="val", allow_leaks=True), say=lambda _: None
    )
    whole = {row.level: row.figures["auc"].value for row in result.rows if row.compression is row.method is None}
    assert figures["val/auc_video"] == pytest.approx(whole["video"])
    assert figures["val/auc_frame"] == pytest.approx(whole["frame"])


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader")
def test_scores_do_not_depend_on_batches_and_workers(out: Path, frame: Path, trained: Path) -> None:
    members = predictor.distinct_members([predictor.load(trained), predictor.load(frame)])
    selection = query.select([str(out)], "test", unlabelled=True)
    first = selection_outputs(members, selection, workers=0)
    for batch, workers in ((1, 0), (7, 0), (100, 2)):
        other = selection_outputs(members, selection, batch=batch, workers=workers)
        for key, rows in first.items():
            both = rows.join(other[key], on="sample_id", validate="1:1", suffix="_other")
            assert both.height == rows.height == selection.pictures.height
            assert np.allclose(both["logit"], both["logit_other"], atol=1e-5)


def test_faces_of_a_video_are_scored_as_those_of_a_build(out: Path, trained: Path, frame: Path) -> None:
    selection = query.select([str(out)], "test", unlabelled=True)
    images = dict(peek.images(selection))
    one = predictor.load(trained)
    (rows,) = selection_outputs(predictor.distinct_members([one]), selection, workers=0).values()
    for (_,), faces in selection.pictures.sample(fraction=1.0, shuffle=True, seed=0).group_by("video_id"):
        found = one.logits([images[name] for name in faces["sample_id"]], faces)
        expected = faces.join(rows, on="sample_id", maintain_order="left")["logit"]
        assert np.allclose(found, expected, atol=1e-5)
    with pytest.raises(SemblanceError, match=r"clip scores clips of 3 faces of a person.*nobody says whose"):
        one.logits(list(images.values())[:3])
    assert len(predictor.load(frame).logits(list(images.values())[:3])) == 3


def test_an_ensemble_of_pictures_and_clips(out: Path, frame: Path, trained: Path, tmp_path: Path) -> None:
    to = tmp_path / "both"
    combined = ensembles.combine([str(out)], [str(frame), str(trained)], to, say=lambda _: None)
    result = evaluate.evaluate([str(out)], [str(to), str(frame), str(trained)], Options(draws=0), say=lambda _: None)
    tables = {name: rows.sort("sample_id")["logit"].to_numpy() for name, rows in result.predictions.items()}
    expected = combined.weights["frame"] * tables["frame"] + combined.weights["clip"] * tables["clip"]
    assert np.allclose(tables["both"], expected, atol=1e-6)


def test_passes_of_dropout_leave_the_frame_model_alone(out: Path, frame: Path, trained: Path) -> None:
    """Its own dropout is not drawn, and it runs once for all passes."""
    one = predictor.load(trained)
    model = one.members[0].trained.model
    assert isinstance(model, Temporal)
    own = [layer for layer in model.frame.modules() if isinstance(layer, nn.Dropout) and layer.p > 0]
    assert own
    assert not {id(layer) for layer in own} & {id(layer) for layer in mc_dropout.layers(model)}
    calls: list[int] = []
    model.frame.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        drawn_PU = mc_dropout.passes(model, pictures(2), 8, seed=1)
    assert len(calls) == 1
    assert drawn_PU.shape == (8, 2)
    assert bool((drawn_PU.std(0) > 0).all())
    selection = query.select([str(out)], "test", unlabelled=True)
    (rows,) = selection_outputs(
        predictor.distinct_members([one]), selection, forward=mc_dropout.forward(4), workers=0
    ).values()
    assert rows.height == selection.pictures.height
    assert mc_dropout.columns(rows) == [f"pass_{i:03d}" for i in range(4)]
    no_dropout = made(frame, "mean")
    no_dropout.head.dropout.p = 0.0
    assert mc_dropout.layers(no_dropout) == []


def test_cost_is_per_crop(frame: Path, trained: Path) -> None:
    one, clip = (cost.measure(predictor.load(run)) for run in (frame, trained))
    assert clip.gflop == pytest.approx(one.gflop, rel=0.2)  # the small head adds little
    assert clip.gflop > one.gflop


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("model.frames_from=",), "model.frames_from is not set; name the run of a trained frame model"),
        (("model.frames_from=nowhere",), "is 'nowhere', which is not a trained run"),
        (("augment.size=48",), "trained on pictures of 32 px, and this recipe has 48; use --set augment.size=32"),
    ],
)
def test_what_cannot_be_is_said_before_a_run_is_made(
    out: Path, frame: Path, tmp_path: Path, settings: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        train(out, tmp_path / "run", recipe(frame, *settings))
    assert not (tmp_path / "run").exists()


def test_clips_of_another_length_are_refused(frame: Path) -> None:
    for settings, words in (
        (("data.clip.frames=4",), "model.frames is 3, but data draws clips of 4"),
        (("data.mode=frames",), "model.frames is 3, but data draws frames"),
    ):
        with pytest.raises(UsageError, match=words):
            recipe(frame, *settings)


def test_only_a_frame_model_is_taken(out: Path, frame: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which scores clips; name a run that scores pictures"):
        models.build(TemporalConfig(frames_from=str(trained)))
    ensembles.combine([str(out)], [str(frame)], tmp_path / "both", say=lambda _: None)
    with pytest.raises(UsageError, match=r"both', which is not a trained run.*ensemble has no embedding"):
        models.build(TemporalConfig(frames_from=str(tmp_path / "both")))


def test_a_head_over_another_frame_model_is_refused(out: Path, trained: Path, tmp_path: Path) -> None:
    other = untrained.make(tmp_path / "other", [out], seed=5)
    config = recipe(other, "model.pooling=transformer").model
    with pytest.raises(UsageError, match=r"another frame model than model\.frames_from"):
        models.build(config.model_copy(update={"pretrained": str(trained)}))


def test_what_the_frame_model_has_seen_counts(out: Path, frame: Path, trained: Path, tmp_path: Path) -> None:
    """A frame model that was trained on val's videos: the head would be selected on what it knows."""
    known, seen_now = checkpoint.seen_by(str(frame)), checkpoint.seen_by(str(trained))
    assert known is not None
    assert seen_now is not None
    columns = ["role", "kind", "hash"]
    assert known.ids.join(seen_now.ids, on=columns, how="anti").is_empty()
    file = untrained.make(tmp_path / "knows", [out]) / "checkpoints" / "best.ckpt"
    val = isolation.records("trained", query.select([str(out)], "val", unlabelled=True))
    checkpoint.save(file, checkpoint.load(file) | {"seen": seen.union(val).state()})
    with pytest.raises(SemblanceError, match="were trained on by the run that the weights are from"):
        train(out, tmp_path / "run", recipe(tmp_path / "knows"))


def test_two_ranks_equal_one(out: Path, frame: Path, tmp_path: Path) -> None:
    """Each rank has clips of its own in validation, and pictures of two clips may have them on different ranks."""
    settings = ("model.pooling=transformer", "model.dropout=0", "data.draws=20", "data.batch_size=20", "epochs=3")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.clip_runs", str(frame), str(out)]
    command += [str(tmp_path / "ranks"), *settings]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    alone = RunDir(train(out, tmp_path / "alone", recipe(frame, *settings)))
    ranks = RunDir(tmp_path / "ranks")
    for ours, theirs in ((ranks.epochs, alone.epochs), (ranks.steps, alone.steps)):
        for a, b in zip(read_lines(ours), read_lines(theirs), strict=True):
            assert a == pytest.approx(b, rel=1e-3)
    assert len(read_lines(ranks.epochs)) == 3


@pytest.mark.parametrize("pooling", POOLINGS)
def test_half_precision_ends_before_the_head(frame: Path, pooling: str) -> None:
    """As in training on a GPU: near, and with all digits of a logit."""
    model, image_BCHW = made(frame, pooling), pictures(2)
    exact = model(image_BCHW).logit_B.detach()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(image_BCHW)
    assert output.logit_B.dtype == output.embedding_BD.dtype == torch.float32
    assert torch.allclose(output.logit_B, exact, atol=0.1 * float(exact.abs().max()) + 0.05)
    output.logit_B.sum().backward()
    assert all(parameter.grad is None for parameter in model.frame.parameters())
    assert all(parameter.grad is not None for parameter in [*model.pool.parameters(), *model.head.parameters()])


def test_crops_are_cut_as_the_frame_model_knows_them(tmp_path: Path) -> None:
    build = builds.make(tmp_path / "build", builds.Plan(frames=5, splits=("train", "val")))
    described = json.loads((build / "dataset.json").read_text())
    (build / "dataset.json").write_text(json.dumps(described | {"recipe": {"crop": {"size": 224}}}))
    frame = untrained.make(tmp_path / "frame", [build])
    (build / "dataset.json").write_text(json.dumps(described | {"recipe": {"crop": {"size": 300}}}))
    with pytest.raises(SemblanceError, match=r"cut otherwise than those of .*crop\.size 300 instead of 224"):
        train(build, tmp_path / "run", recipe(frame))
    assert not (tmp_path / "run").exists()
    run = train(build, tmp_path / "run", recipe(frame, "epochs=1", "schedule.warmup_epochs=0"), allow_other_crops=True)
    seen_now = checkpoint.seen_by(str(run))
    assert seen_now is not None
    assert any("--allow-other-crops" in note for note in seen_now.notes)


def test_an_average_of_the_weights_leaves_the_frame_model(out: Path, frame: Path, tmp_path: Path) -> None:
    run = train(out, tmp_path / "run", recipe(frame, "ema_decay=0.9", "epochs=1", "schedule.warmup_epochs=0"))
    model = untrained.model(run)
    assert isinstance(model, Temporal)
    assert hashes(model.frame) == hashes(untrained.model(frame))


def test_a_frame_model_that_is_gone_or_another_is_said(out: Path, tmp_path: Path) -> None:
    frame = untrained.make(tmp_path / "frame", [out])
    run = clip_runs.make(tmp_path / "clip", frame)
    assert predictor.load(run).members[0].clip == T
    untrained.make(tmp_path / "other", [out], seed=3)
    (tmp_path / "frame").rename(tmp_path / "away")
    with pytest.raises(SemblanceError, match=r"clip/checkpoints/best.ckpt holds only the trained part.*frame, which"):
        predictor.load(run)
    (tmp_path / "other").rename(tmp_path / "frame")
    with pytest.raises(SemblanceError, match=r"was trained on other weights than those in .*frame today"):
        predictor.load(run)


def test_a_head_over_a_tuned_transformer(out: Path, tmp_path: Path) -> None:
    """A frame model that is itself saved as a part: its low-rank products are merged, its embedding has length 1."""
    settings = (
        *("model.kind=vit", "model.arch=test_vit.r160_in1k", "model.size=32", "augment.size=32", "data.mix=null"),
        *("epochs=1", "schedule.warmup_epochs=0", "early_stop=null", "augment.on=workers", "optimiser.lr=0.01"),
    )
    whole = ("model.pretrained=none", "model.trainable=all")
    before = train(out, tmp_path / "before", recipes.load("resnet50", (*settings, *whole)))
    part = (f"model.pretrained={before}", "model.trainable=lora")
    frame = train(out, tmp_path / "frame", recipes.load("resnet50", (*settings, *part)))
    model = made(frame, "mean", drawn=False)
    image_BCHW = pictures(2)
    with torch.inference_mode():
        frames = untrained.model(frame)(image_BCHW)
        assert torch.allclose(frames.embedding_BD.norm(dim=1), torch.ones(2 * T), atol=1e-5)
        assert torch.allclose(model(image_BCHW).logit_B, frames.logit_B.view(2, T).mean(1), atol=1e-5)
    run = clip_runs.make(tmp_path / "clip", frame, "model.pooling=mean")
    loaded = untrained.model(run)
    with torch.inference_mode():
        assert torch.allclose(loaded(image_BCHW).logit_B, model(image_BCHW).logit_B, atol=1e-5)


def test_heads_over_repetitions_of_a_frame_model_are_repetitions(out: Path, tmp_path: Path) -> None:
    frames = [untrained.make(tmp_path / f"net-seed{seed}", [out], f"seed={seed}", seed=seed) for seed in (0, 1)]
    other = untrained.make(tmp_path / "other", [out], "epochs=7", seed=2)
    heads = [
        clip_runs.make(tmp_path / name, frame, f"seed={seed}")
        for seed, (name, frame) in enumerate(zip(("head-seed0", "head-seed1", "more"), [*frames, other], strict=True))
    ]
    (group,) = seeds.find([predictor.load(head) for head in heads])
    assert group == Seeds(name="head", runs=("head-seed0", "head-seed1"), seeds=(0, 1))
