"""Whatever a recipe allows, every command survives: gates set to 0 or off, single pixels, empty splits, odd frames."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from semblance.ingest import plan as planning
from semblance.ingest.demo import dataset
from semblance.ingest.recipe import load
from semblance.manifests.cli import app as manifests
from semblance.quality.cli import app as quality
from semblance.shards.cli import app as shards
from tests.ingest import in_process

LIMITS = ["null", "-1", "0", "0.0001", "1", "1000000"]
EXTREMES: dict[str, list[str]] = {
    "gates.confidence": LIMITS,
    "gates.min_face": LIMITS,
    "gates.face_ratio": LIMITS,
    "gates.blur": LIMITS,
    "gates.brightness": ["null", "[0,0]", "[0,1]", "[-1,255]", "[1,1]", "[0.5,0.5]"],
    "gates.mode": ["drop", "mark"],
    "gates.pairs": ["together", "own"],
    "sampling.mode": ["even", "first", "every", "fps", "clips"],
    "sampling.n": ["1", "2"],
    "sampling.k": ["1000", "40"],
    "sampling.fps": ["0.01", "1"],
    "sampling.clips": ["1"],
    "sampling.length": ["1", "3"],
    "crop.kind": ["box", "aligned"],
    "crop.size": ["16", "17", "600"],
    "crop.margin": ["1.0", "5.0"],
    "encoding.format": ["jpg", "png", "webp"],
    "encoding.quality": ["1", "100"],
    "faces": ["all", "largest"],
    "guide.use": ["true", "false"],
    "guide.outside": ["0.0001", "1000000"],
    "guide.change_peak": ["0.0001", "1000000"],
    "detect.min_face": ["12", "400"],
    "split.protocol": ["auto", "family"],
    "split.fractions": ["[1,0,0]", "[0,0,1]", "[0,1,0]", "[0.34,0.33,0.33]"],
    "shards.target_bytes": ["1", "1000000000000"],
    "limit": ["1", "2"],
    "limits.frames": ["1"],
    "limits.megapixels": ["0.000001"],
    "decode.skip": ["nonkey"],
    "masks": ["false"],
}
RECIPES = st.dictionaries(st.sampled_from(sorted(EXTREMES)), st.integers(0, 9), max_size=8).map(
    lambda drawn: [f"{key}={EXTREMES[key][place % len(EXTREMES[key])]}" for key, place in sorted(drawn.items())]
)
# Found by hand; each ended a command in a traceback.
KNOWN = (
    ["gates.blur=0"],
    ["gates.min_face=0"],
    ["gates.blur=-1", "gates.confidence=null"],
    ["gates.confidence=1000000"],
    ["split.fractions=[0,0,1]", "gates.mode=mark", "gates.blur=1000000"],
    ["limit=1"],
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two families: one face, and two faces."""
    root = tmp_path_factory.mktemp("extremes") / "dfdc"
    dataset.write(str(root), families=2)
    return root


def survives(app: object, *words: object, codes: Sequence[int] = (0, 1, 2)) -> None:
    """The command ends with a known code, and says why in a sentence where it is not 0."""
    result = CliRunner().invoke(app, [str(word) for word in words])  # type: ignore[arg-type]
    why = f"{words}: {result.exit_code}\n{result.output}\n{result.exception!r}"
    assert result.exception is None or isinstance(result.exception, SystemExit), why
    assert result.exit_code in codes, why
    assert result.exit_code == 0 or result.output.strip(), why
    assert "Traceback" not in result.output, why


def every_command(out: Path, to: Path) -> None:
    """Each command that reads a build, on this one."""
    survives(shards, "verify", out, codes=(0, 1))
    survives(shards, "verify", out, "--deep", codes=(0, 1))
    survives(quality, "audit", out, "--to", to / "offences.parquet", codes=(0, 1))
    survives(quality, "report", out, codes=(0,))
    survives(quality, "report", out, "--share", codes=(0,))
    survives(quality, "sheet", out, "--to", to / "sheet.png")
    survives(quality, "sheet", out, "--rejects", "--to", to / "rejects.png")
    survives(quality, "shortcuts", out, "--to", to / "shortcuts.json")
    survives(quality, "match", out, "--to", to / "keep.parquet")
    survives(quality, "flag", out, codes=(0,))
    survives(quality, "drift", out, out, codes=(0, 1))
    survives(manifests, "query", out, "SELECT reason, count(*) AS n FROM rejects GROUP BY reason", codes=(0,))
    survives(shards, "repack", out, "--split", "family", "--to", to / "again")
    if (to / "again" / "dataset.json").exists():
        survives(shards, "verify", to / "again", "--deep", codes=(0, 1))
        survives(quality, "report", to / "again", codes=(0,))
    survives(shards, "export", out, "--format", "folder", "--to", to / "folder")
    survives(shards, "export", out, "--format", "deepfakebench", "--to", to / "bench")
    survives(quality, "report", out, codes=(0,))  # with flags now


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(RECIPES)
@example(KNOWN[0])
@example(KNOWN[1])
@example(KNOWN[2])
@example(KNOWN[3])
@example(KNOWN[4])
@example(KNOWN[5])
def test_every_command_survives_every_recipe(collection: Path, drawn: list[str]) -> None:
    survives_recipe(collection, drawn)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(RECIPES)
def test_every_command_survives_many_recipes(collection: Path, drawn: list[str]) -> None:
    survives_recipe(collection, drawn)


def survives_recipe(collection: Path, drawn: list[str]) -> None:
    recipe = load("plan", ["sampling.n=2", *drawn])
    plan = planning.make("dfdc", str(collection), recipe)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        in_process.build(plan, str(out))
        assert json.loads((out / "dataset.json").read_text())["complete"]
        every_command(out, Path(folder))
