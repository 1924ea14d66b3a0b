"""docs/serving.md: its tables are complete, its examples load, and its commands run against a real service."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel

from semblance.manifests import storage
from semblance.training.inference import mc_dropout
from semblance.training.serving import access, answers, config, problems
from tests.conftest import BIN, REPOSITORY
from tests.docs import pages
from tests.training.serving import services

PAGE: Final = "docs/serving.md"
_CURRENT: Final = "http://localhost:8080"
_RAY: Final = "serve run"  # tried by hand: it starts a cluster
_TOKEN: Final = "$TOKEN"


def blocks(language: str) -> list[str]:
    return [block.text for block in pages.blocks(language) if block.where.startswith(f"{PAGE}:")]


def leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value


def test_every_setting_is_there_with_its_default() -> None:
    rows = pages.first_column(PAGE, "## Settings")
    assert {key: yaml.safe_load(cell.strip("`")) for key, cell in rows.items()} == dict(leaves(config.ServeConfig()))


def test_the_settings_that_are_shown_load(tmp_path: Path) -> None:
    (block,) = blocks("yaml")
    file = tmp_path / "service.yaml"
    file.write_text(block)
    assert config.load(str(file)) != config.ServeConfig()
    named = re.findall(r"--set (\S+=[^\s`]+)", (REPOSITORY / PAGE).read_text("utf-8"))
    named += re.findall(r"settings=\(\"(\S+)\"", "".join(blocks("python")))
    assert len(named) >= 2
    for setting in named:
        config.load(None, [setting])


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("### Of every score", answers.Score),
        ("### Of a crop", answers.CropAnswer),
        ("### Of a video", answers.VideoAnswer),
        ("### Of a model", answers.Served),
        ("### Of a person", answers.PersonAnswer),
        ("### Of a face", answers.FaceAnswer),
        ("### Of the footage", answers.Footage),
        ("### Of a job", answers.JobAnswer),
    ],
)
def test_every_field_of_an_answer_is_explained(heading: str, model: type[BaseModel]) -> None:
    fields = set(model.model_fields)
    if model is not answers.Score:
        fields -= set(answers.Score.model_fields)
    assert set(pages.first_column(PAGE, heading)) == fields


def test_the_answers_that_are_shown_have_their_form() -> None:
    crop, problem, log = (json.loads(block) for block in blocks("json"))
    assert answers.MEANING.startswith(answers.CropAnswer.model_validate(crop).meaning.removesuffix(" ..."))
    answers.Problem.model_validate(problem)
    assert log["event"]["dataset"] == "semblance.requests"
    assert f"`uncertainty` is above {mc_dropout.UNCERTAIN:g};" in (REPOSITORY / PAGE).read_text("utf-8")


def raised() -> Iterator[tuple[int, str]]:
    """(status, reason) of every refusal that the service's code writes out, and of files."""
    places = {"ProblemError": 0, "problem": 1}  # of the status among the arguments; the reason follows it
    for file in sorted((REPOSITORY / "training" / "serving").glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in places:
                status, reason = call.args[places[call.func.id] :][:2]
                if isinstance(status, ast.Constant) and isinstance(reason, ast.Constant):
                    yield int(str(status.value)), str(reason.value)
    yield from ((422, reason) for reason in problems._OF_FILES)


def test_every_refusal_is_in_the_table() -> None:
    text = (REPOSITORY / PAGE).read_text("utf-8")
    rows = {(int(status), reason) for status, reason in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text, re.MULTILINE)}
    found = set(raised())
    assert {(503, "busy"), (429, "rate"), (422, "no_face")} <= found
    assert found - rows == set(), "missing in the table"
    assert rows - found <= {(405, "bad_request"), (431, "bad_request"), (500, "failed")}
    told = re.findall(r"``(\w+)``", str(answers.Problem.__doc__))
    assert {reason for _, reason in rows} == set(told)


def test_every_metric_is_in_the_table(tmp_path: Path, trained: Path) -> None:
    metrics = services.make(tmp_path, trained).metrics
    types = dict(re.findall(r"^# TYPE (semblance_\w+) (\w+)$", metrics.text().decode(), re.MULTILINE))
    names = {name for name in types if not name.endswith("_created")}
    assert set(pages.first_column(PAGE, "## Metrics")) == names
    for name, family in metrics._registry._names_to_collectors.items():
        if name in names:
            text = (REPOSITORY / PAGE).read_text("utf-8")
            row = re.search(rf"^\| `{name}` \| (.*?) ?\| ", text, re.MULTILINE)
            assert row is not None
            assert tuple(re.findall(r"\w+", row[1])) == getattr(family, "_labelnames"), name  # noqa: B009  # Collector does not type it


@pytest.mark.skipif(None in (shutil.which("curl"), shutil.which("jq")), reason="the page's commands need curl and jq")
def test_its_commands_run(
    tmp_path: Path, trained: Path, clip: Path, crops: list[bytes], s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    storage.write_bytes("s3://bucket/inbox/clip.mp4", clip.read_bytes())
    shutil.copy(clip, tmp_path / "clip.mp4")
    (tmp_path / "crop.jpg").write_bytes(crops[0])
    token = access.create("alice", str(tmp_path / "tokens"))
    scripts = [block for block in blocks("bash") if _RAY not in block]
    with_token = [block for block in scripts if _TOKEN in block]
    assert len(with_token) == 1
    words = [
        "serve",
        "--run",
        str(trained),
        "--port",
        "0",
        "--tokens",
        "tokens",
        "--events",
        "events",
        "--jobs",
        "jobs",
    ]
    settings = ["--set", "videos.workers=1", "--set", "videos.s3=[s3://bucket/inbox/]"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [BIN / "training", *words, *settings],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as service:
        try:
            assert service.stdout is not None
            lines = iter(service.stdout.readline, "")
            address = next(found[1] for line in lines if (found := re.search(r"(http://\S+)/$", line.strip())))
            (tmp_path / ".curlrc").write_text(f'header = "Authorization: Bearer {token}"\n')
            ready = f"until curl -sf {address}/health/ready; do sleep 0.1; done\n"
            known = environment | {"CURL_HOME": str(tmp_path)}
            bash(ready + "\n".join(one for one in scripts if _TOKEN not in one), address, tmp_path, known)
            bash(with_token[0], address, tmp_path, environment | {"TOKEN": token})
            with pytest.raises(AssertionError, match="401"):
                bash(with_token[0], address, tmp_path, environment | {"TOKEN": "guessed"})
        finally:
            service.terminate()
            rest, _ = service.communicate()
    assert (service.returncode, rest) == (0, "stopped\n")
    assert sorted(one.name for one in (tmp_path / "events").iterdir()) == ["feedback", "requests"]


def bash(script: str, address: str, folder: Path, environment: dict[str, str]) -> None:
    """Run lines as they stand on the page; the first that fails is an error with what it said."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(_CURRENT, address)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
