"""The ``training`` command: from the shards of builds to trained detectors."""

from __future__ import annotations

import typer

from semblance.training.commands.benchmark import benchmark
from semblance.training.commands.benchmark_schema import benchmark_schema
from semblance.training.commands.continual import continual
from semblance.training.commands.distil import distil
from semblance.training.commands.ensemble import ensemble
from semblance.training.commands.evaluate import evaluate
from semblance.training.commands.evaluation_schema import evaluation_schema
from semblance.training.commands.export import export
from semblance.training.commands.few_shot import few_shot
from semblance.training.commands.fit import fit
from semblance.training.commands.peek import peek
from semblance.training.commands.predict import predict
from semblance.training.commands.probe import probe
from semblance.training.commands.protocols import cross_dataset, leave_one_out
from semblance.training.commands.registry import app as registry
from semblance.training.commands.rollout import app as rollout
from semblance.training.commands.serve import serve, token

app = typer.Typer(
    help="Train, combine and evaluate detectors on builds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Train, combine and evaluate detectors on builds."""


for command in (
    *(
        peek,
        fit,
        evaluate,
        leave_one_out,
        cross_dataset,
        few_shot,
        continual,
        distil,
        probe,
        benchmark,
        ensemble,
        predict,
        export,
        serve,
        token,
    ),
    *(evaluation_schema, benchmark_schema),
):
    app.command()(command)
app.add_typer(registry, name="registry")
app.add_typer(rollout, name="rollout")
