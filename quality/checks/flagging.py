"""``quality flag``: judge the labels of a build, write the flags, and say what was found."""

from __future__ import annotations

from collections.abc import Iterator

from semblance.quality.checks import doubtful, label_noise, predictions, separability


def run(out: str, scores: str | None = None) -> Iterator[str]:
    """Write the flags of label noise and the ranked list; yields lines to print. ``scores``: a table of a model's."""
    separability.one_thread()
    given = None if scores is None else predictions.read(out, scores)  # fail before any work
    judged = label_noise.judge(out)
    label_noise.write(out, judged)
    yield from label_noise.lines(judged, label_noise.peak_limit(out))
    scored = doubtful.light(out) if given is None else given
    ranked = doubtful.of_build(out, judged, scored)
    doubtful.write(out, ranked)
    yield from doubtful.lines(ranked, scored)
