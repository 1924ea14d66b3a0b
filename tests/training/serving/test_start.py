"""What a service is started with: one sentence for what cannot be used, before any model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from semblance.manifests.errors import SemblanceError
from semblance.training.serving import start


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"run": None}, "Pass what to serve, and only one: --run RUN, or --model NAME of a registry."),
        ({"model": "faces"}, "Pass what to serve, and only one: --run RUN, or --model NAME of a registry."),
        ({"run": None, "model": "faces"}, "--model needs --registry ADDRESS and --public-key FILE"),
        ({"settings": ("crops.bach=2",)}, "The option --set has the unknown key 'crops.bach'"),
        ({"settings": ("crops.batch=0",)}, "The option --set has a wrong value for 'crops.batch'"),
        ({"config": "{file}"}, "The settings file {file} has the unknown key 'recipe'"),
        ({"tokens": "{file}/tokens"}, "The file of tokens {file}/tokens cannot be read (Not a directory); make one"),
        ({"jobs": "{file}/jobs"}, "{file}/jobs cannot be written (Not a directory"),
        ({"events": "{file}/events"}, "{file}/events cannot be written (Not a directory"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, wrong: dict[str, object], sentence: str) -> None:
    file = tmp_path / "file"
    file.write_text("recipe: resnet50\n")
    given = {key: value.format(file=file) if isinstance(value, str) else value for key, value in wrong.items()}
    with (
        pytest.raises(SemblanceError) as said,
        start.service(start.Options.model_validate({"run": "runs/absent"} | given)),
    ):
        pass
    assert str(said.value).startswith(sentence.format(file=file))
    assert str(said.value).endswith(".")
    assert "\n" not in str(said.value)
