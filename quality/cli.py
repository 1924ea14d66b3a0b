"""``quality``: check and inspect builds."""

from __future__ import annotations

import typer

from semblance.quality.commands.audit import audit
from semblance.quality.commands.audit_schema import audit_schema
from semblance.quality.commands.drift import drift
from semblance.quality.commands.flag import flag
from semblance.quality.commands.match import match
from semblance.quality.commands.persons import persons
from semblance.quality.commands.report import report
from semblance.quality.commands.sheet import sheet
from semblance.quality.commands.shortcuts import shortcuts
from semblance.quality.commands.thresholds import thresholds

app = typer.Typer(
    help="Check and inspect builds.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def main() -> None:
    """Check and inspect builds."""


for command in (sheet, audit, report, shortcuts, match, thresholds, flag, drift, persons, audit_schema):
    app.command(command.__name__.replace("_", "-"))(command)
