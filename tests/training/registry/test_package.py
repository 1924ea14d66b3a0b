"""A package answers as its run does, bit by bit, and holds all that is needed for it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from semblance.manifests.errors import SemblanceError
from semblance.training import models
from semblance.training.guard import seen
from semblance.training.inference import mc_dropout, predictor
from semblance.training.inference.predictor import Predictor
from semblance.training.registry import contents, package, reference, signature
from semblance.training.registry.records import Semantic
from semblance.training.runs import folder as run_folder
from tests.conftest import REPOSITORY
from tests.training.registry import kinds
from tests.training.registry.models import keys

pytestmark = [
    # lightning 2.6 and torch 2.15's exporter ask for trees in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def made(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return kinds.make(tmp_path_factory.mktemp("runs"), ffpp)


@pytest.fixture(scope="module")
def packed(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The package of a run, made once."""
    folder = tmp_path_factory.mktemp("packages")

    def get(kind: str) -> Path:
        if not (folder / kind).exists():
            run = predictor.load(made[kind])
            graphs = kind == "resnet"  # they take seconds, and tests/training/export/test_features.py looks at all
            package.write(run, folder / kind, model="faces", version=Semantic(1, 2, 0), graphs=graphs)
        return folder / kind

    return get


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 1 + int(rng.uniform(20, 255)), (64, 64, 3), np.uint8) for _ in range(count)]


def faces(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sample_id": [f"{number}" for number in range(count)],
            "video_id": "video",
            "person": 0,
            "track": 0,
            "frame_index": range(count),
        }
    )


def logits(one: Predictor, count: int = 7) -> np.ndarray:
    return one.logits(noise(count), faces(count))


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_it_answers_as_the_run_does_bit_by_bit(
    made: dict[str, Path], packed: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    """From another place, without the run and the runs that it came from."""
    run = predictor.load(made[kind])
    found = package.opened(Path(shutil.move(shutil.copytree(packed(kind), tmp_path / "a"), tmp_path / "b")))
    again = found.predictor
    wanted = logits(run)
    assert wanted.std() > 1e-3
    np.testing.assert_array_equal(logits(again), wanted)
    for level in ("frame", "video"):
        np.testing.assert_array_equal(again.probability(wanted, level), run.probability(wanted, level))
    drawn = [one.member_outputs(noise(7), mc_dropout.forward(8), faces=faces(7)) for one in (run, again)]
    for columns, same in zip(*drawn, strict=True):
        assert columns.keys() == same.keys()
        for name in columns:
            np.testing.assert_array_equal(columns[name], same[name])
    assert again.calibration_families == run.calibration_families
    assert again.calibrated == run.calibrated
    assert again.datasets == run.datasets
    assert seen.union(again.records).ids.equals(seen.union(run.records).ids)
    assert contents.parse(found.folder / contents.FILE).checked == 0
    assert reference.difference(again, found.folder / reference.FILE) == 0
    assert sum(one.trained.seen is None for one in again.members) == sum(
        one.trained.seen is None for one in run.members
    )


def test_the_description_says_where_it_comes_from(made: dict[str, Path], packed: Callable[[str], Path]) -> None:
    found = contents.parse(packed("ensemble") / contents.FILE)
    run = predictor.load(made["ensemble"])
    assert [one.sha256 for one in found.members] == [one.sha256 for one in run.members]
    assert [one.weight for one in found.members] == list(run.weights)
    assert found.datasets[0]["fingerprint"]
    (parent,) = contents.parse(packed("attention") / contents.FILE).members[0].parents
    frame = predictor.load(made["frame"]).members[0]
    assert (parent.role, parent.path, parent.sha256) == ("frames", str(made["frame"]), frame.sha256)
    listed = set(found.files) | {contents.FILE}
    held = {one.relative_to(packed("ensemble")).as_posix() for one in packed("ensemble").rglob("*") if one.is_file()}
    assert listed == held
    assert package.hashes(packed("ensemble")) == found.files


def test_training_takes_its_weights(made: dict[str, Path], packed: Callable[[str], Path]) -> None:
    """As ``model.pretrained``, like those of a run."""
    for kind in ("f3net", "lora"):
        one = predictor.load(made[kind]).members[0].trained
        file = packed(kind) / "weights" / "0.safetensors"
        filled = models.build(one.recipe.model.model_copy(update={"pretrained": str(file)})).eval()
        image_BCHW = torch.rand(2, 3, 32, 32)
        with torch.no_grad():
            np.testing.assert_allclose(filled(image_BCHW).logit_B, one.model(image_BCHW).logit_B, atol=1e-5)


def test_nothing_is_parsed_before_the_signature_is_verified(
    packed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys(tmp_path)
    folder = Path(shutil.copytree(packed("resnet"), tmp_path / "package"))
    with pytest.raises(SemblanceError, match="is not signed"):
        package.load(folder, key.with_suffix(".pub"))
    signature.sign(folder, key)
    np.testing.assert_array_equal(
        logits(package.load(folder, key.with_suffix(".pub")).predictor), logits(package.opened(folder).predictor)
    )
    for name in ("package.json", "weights/0.safetensors", "seen.parquet", "CARD.md", "features/0.xml"):
        other = Path(shutil.copytree(folder, tmp_path / f"other-{name.replace('/', '-')}"))
        (other / name).write_text("not what it was")
        with monkeypatch.context() as patch:
            patch.setattr(package, "opened", lambda _: pytest.fail("it was read"))
            with pytest.raises(SemblanceError, match=f"{name} was changed"):
                package.load(other, key.with_suffix(".pub"))


def test_a_package_of_another_format_is_refused_in_a_sentence(packed: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packed("resnet"), tmp_path / "package"))
    file = folder / contents.FILE
    whole = json.loads(file.read_text())
    for text in (json.dumps(whole | {"novelty": 1}), json.dumps({}), "{", json.dumps(whole | {"members": []})):
        file.write_text(text)
        with pytest.raises(SemblanceError, match=r"package\.json is not of format 1 .*use the version of semblance"):
            package.opened(folder)
    file.write_text(json.dumps(whole))
    (folder / "weights" / "0.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(SemblanceError, match="does not match this version's models"):
        package.opened(folder)


def test_the_commit_of_the_code_that_trained_it_is_kept(made: dict[str, Path], tmp_path: Path) -> None:
    """As git itself says it, where this is a checkout."""
    words = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    asked = subprocess.run(words, capture_output=True, text=True, check=False)
    known = run_folder.commit()
    assert (known or "").removesuffix("-dirty") == (asked.stdout.strip() if asked.returncode == 0 else "")
    run = predictor.load(shutil.copytree(made["frame"], tmp_path / "run"))
    assert package.write(run, tmp_path / "a", model="m", version=Semantic(1, 0, 0), graphs=False).commit is None
    run_folder.write_json(tmp_path / "run" / "run.json", {"commit": "0" * 40})
    assert package.write(run, tmp_path / "b", model="m", version=Semantic(1, 0, 0), graphs=False).commit == "0" * 40
