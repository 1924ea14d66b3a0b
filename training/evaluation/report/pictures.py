"""Pictures of the videos that runs are most wrong about, from the shards, as small JPEGs within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from semblance.manifests import scan
from semblance.quality.report.gallery import Gallery, Picture, Sheet
from semblance.training.evaluation import worst
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report.blocks import Block, Fold, Section, Sheets
from semblance.training.evaluation.seeds import systems
from semblance.training.evaluation.worst import Wrong

RUNS: Final = 4  # of which pictures are shown
_WHERE: Final = ("sample_id", "shard", "tar_offset", "tar_bytes")


def section(result: Evaluation) -> Section:
    """The highest-scored reals and the lowest-scored fakes: of the first run openly, of the next ones folded."""
    found = worst.of_runs(result)
    shown = [models[0] for models in systems(list(found), result.seeds).values()][:RUNS]
    where = _rows(result, [one for name in shown for one in found[name]])
    albums = {out: Gallery(out) for out in result.outs}
    text = (
        "Reals with the highest scores and fakes with the lowest, whether val's threshold errs on them or not: look "
        "here for wrong labels, missed faces and what confuses the model. Pictures are those of the person who gave "
        "the video its score, evenly over time."
    )
    more = f" Shown for {len(shown)} of {len(found)} runs; evaluation.json names those of all."
    blocks: list[Block] = [text + (more if len(shown) < len(found) else "")]
    for place, name in enumerate(shown):
        sheets = Sheets(sheets=[_sheet(one, where, albums) for one in found[name]])
        blocks.append(Fold(title=name, blocks=[sheets], open=not place))
    unreadable = sum(album.unreadable for album in albums.values())
    if unreadable:
        blocks.append(f"{unreadable} pictures cannot be read; `shards verify` says why.")
    return Section(title="Worst videos", blocks=blocks)


def _rows(result: Evaluation, chosen: Sequence[Wrong]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Build and place of each picture."""
    names = pl.Series(sorted({name for one in chosen for name in one.sample_ids}), dtype=pl.String).implode()
    return {
        row["sample_id"]: (out, row)
        for out in result.outs
        for row in scan(out).filter(pl.col("sample_id").is_in(names)).select(_WHERE).collect().to_dicts()
    }


def _sheet(one: Wrong, where: Mapping[str, tuple[str, dict[str, Any]]], albums: Mapping[str, Gallery]) -> Sheet:
    kind = "fake" if one.label else "real"
    pictures = []
    for name in one.sample_ids:
        out, row = where[name]
        image = albums[out].image(row)
        uri = None if image is None else albums[out].embed(image)
        if uri is not None:
            frame = name.removeprefix(f"{one.video_id}-")
            pictures.append(Picture(uri=uri, alt=f"{kind} face {name}", caption=frame))
    what = ", ".join(filter(None, (kind, one.method if one.label else None, one.compression)))
    called = "called wrongly" if one.wrong else "called rightly"
    title = f"{one.video_id}: {what}; probability of fake {one.score:.3f}, logit {one.logit:.2f}, {called}"
    return Sheet(title=title, pictures=tuple(pictures))
