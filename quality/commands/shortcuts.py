"""``quality shortcuts``: whether acquisition metadata predicts the label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.quality.commands.output import Json, write_json

if TYPE_CHECKING:
    from semblance.quality.checks.shortcuts import Figure


@friendly
def shortcuts(out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")], to: Json = None) -> None:
    """Test whether acquisition metadata alone predicts the label. Face statistics serve as a baseline."""
    from semblance.quality.checks import separability
    from semblance.quality.checks import shortcuts as audit

    separability.one_thread()
    found = audit.audit(out)
    if to == "-":
        write_json(audit.to_json(found), to)
        return
    print(f"{'reals vs.':32} {'families':>8}  {'acquisition':24} {'face statistics (baseline)':24}")
    for one in found:
        cells = [_interval(figure) for figure in (one.acquisition, one.face)]
        print(f"{plain(one.name):32} {one.acquisition.found.families:>8}  {cells[0]:24} {cells[1]:24}".rstrip())
    for sentence in audit.warnings(found):
        print(f"warning: {plain(sentence)}")
    if found and found[0].acquisition.verdict == "too few to tell":
        print(f"too few families: at least {separability.LEAST_FAMILIES} with kept crops are needed")
        for column in found[0].acquisition.found.constant:
            print(f"warning: one value in every real and another in every fake: {plain(column)}")
    if to is not None:
        write_json(audit.to_json(found), to)


def _interval(figure: Figure) -> str:
    found = figure.found
    if found.auc is None:
        return figure.words
    return f"{found.auc:.2f} [{found.low:.2f}, {found.high:.2f}] {figure.words}"
