"""``quality flag``: doubtful labels."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError


@friendly
def flag(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    listed: Annotated[
        str | None,
        typer.Option("--list", help="Third-party table that identifies videos by id, path or file name."),
    ] = None,
    name: Annotated[str | None, typer.Option("--flag", help="Flag to set on the videos in --list.")] = None,
    scores: Annotated[str | None, typer.Option("--scores", help="A model's scores: video_id, score.")] = None,
) -> None:
    """Flag doubtful labels in manifests/flags: unchanged fakes, equal reals and fakes, or a third party's list.

    All of it and a model's doubts are then ranked as one list, the flag doubtful_label. The model is a light one that
    is fitted here, out of fold by family, or yours: --scores reads the predictions of `training evaluate`, or any table
    with the probability of fake, by a model that did not train on these videos.
    """
    from semblance.quality.checks import flagging, label_noise

    if (listed is None) != (name is None):
        raise UsageError("--list and --flag must be given together: the table, and the flag for its videos.")
    if listed is not None and name is not None:
        rows, unknown = label_noise.from_list(out, listed, name)
        label_noise.write_list(out, rows, name)
        print(f"{name}: {len(rows)} videos; {unknown} listed in {plain(listed)} are not in {plain(out)}")
        return
    for line in flagging.run(out, scores):
        print(plain(line))
