"""``training export``: a run as a file for other software."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands.output import libraries


@friendly
def export(
    run: Annotated[str, typer.Argument(help="A run or an ensemble.")],
    format: Annotated[  # noqa: A002  # the name of the option
        str, typer.Option("--format", help="onnx, openvino, torchscript, timm or safetensors.")
    ],
    to: Annotated[str | None, typer.Option("--to", help="Its file. Default: in export/ of the run.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Build whose crops the file is checked on. Default: those of the run."),
    ] = None,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="State val's thresholds too, which takes a pass over val.")
    ] = False,
) -> None:
    """Write a run as a file for other software, checked against the run on real crops and described as JSON."""
    with libraries():
        from semblance.training import export as exports
        from semblance.training.inference import predictor as predictors

        predictor = predictors.load(run)
        limits = None
        if thresholds:
            from semblance.training.export.thresholds import of_val

            limits, notes = of_val(predictor, data or ())
            for note in notes:
                print(plain(note))
        done = exports.export(predictor, format, to, data or (), limits)
    for file in done.files:
        print(plain(file))
    print(f"logits differ by at most {done.difference:.1g} from the run's over {done.pictures} crops, one by one too")
