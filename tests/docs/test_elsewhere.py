"""docs/elsewhere.md runs: other software reads a build of the demo and the exports of a run."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from semblance.manifests import scan
from semblance.quality import codec, openvino_core
from semblance.shards import read
from semblance.training.cli import app
from tests.docs import pages
from tests.training import untrained

PAGE = "docs/elsewhere.md"
BLOCKS = [block for block in pages.blocks("python") if block.where.startswith(f"{PAGE}:")]
EXPORTS = [words[1:] for where, words in pages.shell_lines() if where.startswith(f"{PAGE}:") and words[1] == "export"]
OUT, RUN = "out/demo-dfdc", "out/demo-train/resnet50"
pytestmark = [
    # lightning 2.6 and torch 2.15's exporter ask for trees in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
    # webdataset leaves the last tar open
    pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:FutureWarning"),
]


@pytest.fixture(scope="module")
def folder(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``make demo`` and ``make demo-train`` ran, the page's commands too, and a crop lies."""
    here = tmp_path_factory.mktemp("elsewhere")
    (here / "out").mkdir()
    (here / OUT).symlink_to(built)
    untrained.make(here / RUN, [built], "augment.size=112")
    row = scan(str(built)).head(1).collect().row(0, named=True)
    image = codec.decode(read.fetch(str(built), row))
    cv2.imwrite(str(here / "crop.png"), image[..., ::-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for words in EXPORTS:
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, done.output
    return here


def test_the_page_shows_every_software() -> None:
    text = "".join(block.text for block in BLOCKS)
    for name in ("webdataset", "datasets", "torch", "onnxruntime", "openvino", "timm"):
        assert f"import {name}\n" in text
    assert "semblance" not in text
    assert len(EXPORTS) == 4


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_python_runs(block: pages.Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino_core.without_telemetry()
    import openvino

    monkeypatch.setattr(openvino, "Core", openvino_core.core)  # a process has one
    monkeypatch.chdir(folder)
    exec(compile(block.text, block.where, "exec"), {"__name__": "documentation"})
