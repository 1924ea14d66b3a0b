"""``quality shortcuts``: whether acquisition metadata, or the picture without the face, predicts the label."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.quality.commands.output import Json, write_json


@friendly
def shortcuts(out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")], to: Json = None) -> None:
    """Test whether acquisition metadata alone, or the picture without the face, predicts the label. Face statistics
    serve as a baseline.
    """
    from semblance.quality.checks import background, order, separability
    from semblance.quality.checks import shortcuts as audit

    separability.one_thread()
    found = audit.audit(out)
    if to == "-":
        write_json(audit.to_json(found), to)
        return
    print(f"{'reals vs.':32} {'families':>8}  {'acquisition':24} {'face statistics (baseline)':24}")
    for one in found:
        cells = [one.acquisition.text, one.face.text]
        print(f"{plain(one.name):32} {one.acquisition.found.families:>8}  {cells[0]:24} {cells[1]:24}".rstrip())
    for sentence in audit.warnings(found):
        print(f"warning: {plain(sentence)}")
    if found and found[0].acquisition.verdict == "too few to tell":
        print(f"too few families: at least {separability.LEAST_FAMILIES} with kept crops are needed")
        for column in found[0].acquisition.found.constant:
            print(f"warning: one value in every real and another in every fake: {plain(column)}")
    for line in (*background.lines(background.audit(out)), *order.measure(out).lines()):
        print(plain(line))
    if to is not None:
        write_json(audit.to_json(found), to)
