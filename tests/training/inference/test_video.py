"""Predictions for one video: crops as in a build, scores as by the model, errors in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from semblance.ingest import recipe as recipes
from semblance.ingest.detector.door import Detector
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality import codec, video
from semblance.quality.resize import to_square
from semblance.training import models
from semblance.training.cli import app
from semblance.training.inference import overlay, predictor, seen_before
from semblance.training.inference import sheet as sheets
from semblance.training.inference import video as predict
from tests.training import runs, untrained


@pytest.fixture(scope="module")
def one(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> predictor.Predictor:
    return predictor.load(untrained.make(tmp_path_factory.mktemp("runs") / "alone", [ffpp], gain=9))


pytestmark = [
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


def videos(demo: Path) -> dict[str, Path]:
    """By size: the demo's largest original shows faces; the empty room is its smallest."""
    files = sorted(demo.rglob("*.mp4"), key=lambda file: file.stat().st_size)
    return {"empty": files[0], "faces": files[-1]}


def test_the_score_of_a_video_follows_from_its_crops(one: predictor.Predictor, demo: Path, detector: Detector) -> None:
    recipe = recipes.load("plan", ("sampling.n=4",))
    found = predict.predict(str(videos(demo)["faces"]), one, recipe, passes=12, detector=lambda: detector)
    assert found.pictures.height == len(found.images)
    model = one.members[0].trained.model
    with torch.inference_mode():
        for image, logit in zip(found.images, found.pictures["logit"], strict=True):
            picture = torch.from_numpy(to_square(image, 32).transpose(2, 0, 1).copy())[None].float() / 255
            assert logit == pytest.approx(float(model(picture).logit_B), abs=1e-4)
    by_person = found.pictures.group_by("person").agg(pl.col("logit").mean()).sort("person")["logit"].to_list()
    assert [one.score.logit for one in found.persons] == pytest.approx(by_person)
    assert found.video.logit == pytest.approx(max(by_person))
    assert found.video.probability == pytest.approx(1 / (1 + np.exp(-max(by_person))))
    assert found.video.uncertainty is not None
    assert found.video.uncertainty > 0
    sheet = sheets.sheet(found)
    assert sheet.shape[1] == 8 * sheets.CELL
    assert codec.decode(codec.encode(sheet, codec.EncodingConfig(format="png"))).shape == sheet.shape


def test_frames_without_a_face_cost_nothing(
    one: predictor.Predictor, demo: Path, detector: Detector, tmp_path: Path
) -> None:
    """People walk out of the picture in real footage; half of the sampled frames are empty here."""
    frames = [frame.image for frame in video.frames(str(videos(demo)["faces"]), range(0, 12), decoder="pyav")]
    video.write_h264(str(tmp_path / "gone.mp4"), frames + [np.full_like(frames[0], 90)] * 12, 25)
    recipe = recipes.load("plan", ("sampling.n=8",))
    found = predict.predict(str(tmp_path / "gone.mp4"), one, recipe, passes=2, detector=lambda: detector)
    assert found.row["frames_sampled"] == 8
    assert set(found.pictures["frame_index"]) < set(range(12))
    assert len(found.sampled) == 8, "the empty frames were looked at too"


def every_face(clip: Path, one: predictor.Predictor, detector: Detector, *settings: str) -> predict.Prediction:
    """The prediction without gates for size, light and blur."""
    if not clip.is_file():
        pytest.skip("the sample collections have no clips/ with hand-checked faces")
    gates = (f"gates.{name}=null" for name in ("min_face", "brightness", "face_ratio", "blur"))
    recipe = recipes.load("plan", (*gates, *settings))
    return predict.predict(str(clip), one, recipe, passes=0, detector=lambda: detector)


def test_a_person_over_cuts_is_one_score(one: predictor.Predictor, shared: Path, detector: Detector) -> None:
    """Three shots of one singer: three tracks, which were three scores before."""
    found = every_face(shared / "clips" / "videos" / "pillarbox_cuts.mp4", one, detector)
    tracks = found.pictures["track"].n_unique()
    assert len(found.persons) <= 2
    assert len(found.persons) < tracks == sum(len(person.tracks) for person in found.persons)
    assert found.pictures["person"].null_count() == 0
    assert sum(person.pictures for person in found.persons) == found.pictures.height == found.row["crops_kept"]
    assert sum(found.rejected.values()) == found.row["crops_rejected"]
    singer = max(found.persons, key=lambda person: person.pictures)
    theirs = found.pictures.filter(pl.col("person") == singer.person)
    assert singer.score.logit == pytest.approx(theirs["logit"].mean())
    assert (singer.first_s, singer.last_s) == (theirs["time_s"].min(), theirs["time_s"].max())
    course = overlay.trajectory(found, singer.person)
    assert course.frames == tuple(theirs["frame_index"].unique().sort())


@pytest.mark.parametrize("mode", ["drop", "mark"])
def test_what_is_perhaps_no_face_is_no_person(
    one: predictor.Predictor, shared: Path, detector: Detector, mode: str
) -> None:
    """Two clasped hands: rejected and counted, also where gates only mark."""
    clip = shared / "clips" / "videos" / "kitchen_portrait.mp4"
    found = every_face(clip, one, detector, f"gates.mode={mode}")
    assert [person.person for person in found.persons] == [0]
    assert found.pictures["person"].unique().to_list() == [0]
    assert set(found.rejected) <= {"doubtful", "confidence"}  # the first reason
    assert sum(found.rejected.values()) == found.row["crops_rejected"] > 0


def test_uncertain_predictions_are_neither_real_nor_fake() -> None:
    assert predict.Scored(logit=3, probability=0.95, uncertainty=0.31).verdict == "uncertain"
    assert predict.Scored(logit=3, probability=0.95, uncertainty=0.3).verdict == "fake"
    assert predict.Scored(logit=-3, probability=0.05, uncertainty=None).verdict == "real"


def test_invalid_files_are_reported_in_one_sentence(
    one: predictor.Predictor, demo: Path, detector: Detector, tmp_path: Path
) -> None:
    recipe = recipes.load("plan", ("sampling.n=2",))
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.write_bytes(b"")
    text.write_text("no video")
    for file, match in (
        (tmp_path / "absent.mp4", "does not exist"),
        (empty, "cannot be scored: the file has zero bytes"),
        (text, "cannot be scored"),
        (videos(demo)["empty"], "shows no face in the 2 sampled frames"),
    ):
        with pytest.raises(SemblanceError, match=match):
            predict.predict(str(file), one, recipe, detector=lambda: detector)
    strict = recipes.load("plan", ("sampling.n=2", "gates.blur=1e9"))
    with pytest.raises(SemblanceError, match=r"none passes the gates \(blur\)"):
        predict.predict(str(videos(demo)["faces"]), one, strict, detector=lambda: detector)


def test_a_frame_that_cannot_be_decoded_has_no_hash(one: predictor.Predictor) -> None:
    """Rejected frames are rows beside those of faces."""
    assert not list(seen_before.known(one, {"video_id": "video-x"}, [{"frame_index": 3, "unit": "frame"}]))


def test_the_recipe_is_that_of_the_training_builds_or_plan(ffpp: Path, tmp_path: Path) -> None:
    """The run keeps a copy, so the build may be moved or deleted."""
    out = tmp_path / "out"
    shutil.copytree(ffpp, out)
    made = recipes.load("plan", ("crop.margin=1.7", "recompress.crf=40"))
    described = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(described | {"recipe": made.model_dump(mode="json")}))
    runs.train([str(out)], tmp_path / "run", "epochs=2", "data.draws=8", "model.arch=test_resnet", build=models.build)
    shutil.rmtree(out)
    one = predictor.load(tmp_path / "run")
    assert predict.recipe_of(one) == (made, str(out))
    assert predict.recipe_of(one, None, ("sampling.n=2",))[0].sampling.n == 2
    for name, few, words in (
        (None, ("crop.margin=2",), r"crop\.margin 2\.0 instead of 1\.7"),
        ("plan", (), "1.3 instead"),
    ):
        with pytest.raises(SemblanceError, match=rf"cuts crops otherwise .*{words}.*--allow-other-crops"):
            predict.recipe_of(one, name, few)
    changed, _ = predict.recipe_of(one, None, ("crop.margin=2",), allow_other_crops=True)
    assert changed.crop.margin == 2
    found = predict.recipe_of(one, "deepfakebench", allow_other_crops=True)
    assert found == (recipes.load("deepfakebench"), "deepfakebench")
    unknown = predictor.load(untrained.make(tmp_path / "unknown", [ffpp]))
    assert predict.recipe_of(unknown, None, ("sampling.n=3",)) == (recipes.load("plan", ("sampling.n=3",)), "plan")


def test_a_video_that_the_run_has_seen_is_warned_of(
    built: Path, demo: Path, detector: Detector, tmp_path: Path
) -> None:
    """Under any name, by its frames or, where others are sampled, by its file; a video of test is new."""
    run = predictor.load(untrained.make(tmp_path / "run", [built]))
    rows = pl.read_parquet(built / "manifests" / "videos" / "*.parquet").filter(pl.col("crops_kept") > 0)
    for side, words in (("train", "training data of run"), ("val", "val split that selected run"), ("test", None)):
        file = tmp_path / f"{side}.mp4"
        shutil.copy(demo / rows.filter(pl.col("split") == side)["path"][0], file)
        for count in (6, 3) if words else (6,):
            recipe, _ = predict.recipe_of(run, None, (f"sampling.n={count}",))
            note = predict.predict(str(file), run, recipe, passes=0, detector=lambda: detector).note
            assert (words or "None") in str(note)


@pytest.mark.parametrize("odd", [False, True])
def test_the_overlay_is_the_video_with_boxes(
    one: predictor.Predictor, demo: Path, detector: Detector, tmp_path: Path, odd: bool
) -> None:
    source, to = videos(demo)["faces"], tmp_path / "overlay.mp4"
    if odd:
        images = [frame.image[:-1, :-1] for frame in video.frames(str(source), range(20), decoder="pyav")]
        source = tmp_path / "odd.mp4"
        video.write_h264(str(source), images, 30)
    known = video.probe(str(source))
    recipe = recipes.load("plan", ("sampling.n=4",))
    found = predict.predict(str(source), one, recipe, passes=0, detector=lambda: detector)
    assert overlay.write(found, str(to)) == known.frames_total
    written = video.probe(str(to))
    for name in ("frames_total", "width", "height", "fps"):
        assert getattr(written, name) == getattr(known, name)
    frames = list(video.frames(str(to), range(known.frames_total or 0), decoder="pyav"))
    before = list(video.frames(str(source), range(known.frames_total or 0), decoder="pyav"))
    verdicts = {one.person: one.score.verdict for one in found.persons}
    for row in found.pictures.iter_rows(named=True):
        x0, y0, x1, y1 = (round(row[name]) for name in ("box_x0", "box_y0", "box_x1", "box_y1"))
        image, clean = (np.asarray(part[row["frame_index"]].image, np.int16) for part in (frames, before))
        height = image.shape[0]
        colour = np.array(overlay.COLOURS[verdicts[row["person"]]])
        edge = image[max(y0 + 10, 0) : min(y1 - 10, height), x0 - 1 : x0 + 1].mean(axis=(0, 1))
        assert np.abs(edge - colour).max() < 60  # chroma has half the resolution
        centre = np.s_[(y0 + y1) // 2 - 8 : (y0 + y1) // 2 + 8, (x0 + x1) // 2 - 8 : (x0 + x1) // 2 + 8]
        assert np.abs(image[centre] - clean[centre]).mean() < 12
    with pytest.raises(UsageError, match="is the video itself"):
        overlay.check(str(source), str(source))
    with pytest.raises(UsageError, match="must end in"):
        overlay.check(str(source), "overlay.avi")


def test_the_command(one: predictor.Predictor, demo: Path, tmp_path: Path) -> None:
    source, seen, faces = str(videos(demo)["faces"]), tmp_path / "seen.mp4", tmp_path / "faces.png"
    words = ["predict", source, "--run", str(one.path), "--passes", "2", "--set", "sampling.n=2"]
    done = CliRunner().invoke(app, [*words, "--faces", str(faces), "--overlay", str(seen)])
    assert done.exit_code == 0, done.output
    total = video.probe(source).frames_total
    assert f"overlay of {total} frames: {seen}" in done.output
    persons = done.output.count("\nperson ") + done.output.startswith("person 0: ")
    assert f"the highest of {persons} person" in done.output
    assert "rejected: " in done.output
    assert video.probe(str(seen)).frames_total == total
    assert faces.exists()
    for wrong in (str(tmp_path / "seen.gif"), source):
        done = CliRunner().invoke(app, [*words, "--overlay", wrong])
        assert done.exit_code == 2
        assert done.output.count("\n") == 1


boxes = st.tuples(*[st.floats(0, 500)] * 4)


@given(
    seen=st.dictionaries(st.integers(0, 9), boxes, min_size=1),
    step=st.integers(1, 30),
    frame=st.integers(0, 300),
    cut=st.integers(0, 10),
)
def test_a_box_is_interpolated_or_held_but_never_invented(
    seen: dict[int, tuple[float, float, float, float]], step: int, frame: int, cut: int
) -> None:
    """Ten frames are sampled ``step`` frames apart; the face is in some of them, and a scene ends before one."""
    frames = sorted(seen)
    course = overlay.FaceTrajectory(
        frames=tuple(place * step for place in frames),
        boxes=tuple(seen[place] for place in frames),
        tracks=tuple(int(place >= cut) for place in frames),
        sampled=tuple(place * step for place in range(10)),
    )
    found = course.at(frame)
    near = [place for place in frames if abs(place * step - frame) < step]
    if frame % step == 0 and frame // step in seen:
        assert found == seen[frame // step]
    elif not near:
        assert found is None
    elif len(near) == 2 and near[1] != cut:
        assert found == pytest.approx(
            [np.interp(frame, [place * step for place in near], [seen[place][i] for place in near]) for i in range(4)]
        )
    else:
        place = min(near, key=lambda place: abs(place * step - frame))
        assert found == (seen[place] if abs(place * step - frame) <= step / 2 else None)
