"""``training predict``: score videos and pictures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.commands.output import shown

if TYPE_CHECKING:
    from semblance.training.inference.predictor import Predictor
    from semblance.training.inference.video import Failure, Prediction, Scored


@friendly
def predict(
    videos: Annotated[
        list[str],
        typer.Argument(help="Videos or pictures, folders of them, patterns, or tables with a column path; s3:// too."),
    ],
    run: Annotated[str, typer.Option("--run", help="A run or an ensemble.")],
    to: Annotated[
        str | None,
        typer.Option("--to", help="Table of results, a row per video and person: .jsonl, .csv or .parquet."),
    ] = None,
    faces: Annotated[
        str | None, typer.Option("--faces", help="PNG file for the scored faces of a single video or picture.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="How faces are found and cut. Default: as in the run's builds."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value of that recipe by key=value.")
    ] = None,
    allow_other_crops: Annotated[
        bool, typer.Option("--allow-other-crops", help="Continue although crops are cut otherwise than the run's.")
    ] = False,
    passes: Annotated[
        int, typer.Option("--passes", min=0, help="Passes of Monte-Carlo dropout; 0: no uncertainty.")
    ] = 100,
    overlay: Annotated[
        str | None,
        typer.Option("--overlay", help="mp4 file for a single video with boxes and verdicts drawn on it."),
    ] = None,
) -> None:
    """Score videos or pictures and every person in them: verdict, probability of fake, and uncertainty."""
    from semblance.training.inference import inputs, many, scores_table
    from semblance.training.inference import overlay as overlays
    from semblance.training.inference import predictor as predictors
    from semblance.training.inference import video as inference

    if to is not None:
        scores_table.check(to)
    if faces is not None and not faces.lower().endswith(".png"):
        raise UsageError(f"--faces {faces} must end in .png.")
    given = inputs.gather(videos)
    if len(given.files) != 1 and (faces is not None or overlay is not None):
        raise UsageError(
            f"--faces and --overlay draw a single video, and {len(given.files)} inputs are given; leave them out."
        )
    one = given.files[0] if len(given.files) == 1 else None
    if overlay is not None and one is not None:
        overlays.check(one.path, overlay)
    predictor = predictors.load(run)
    build_recipe, source = inference.recipe_of(predictor, recipe, settings or (), allow_other_crops=allow_other_crops)
    results = many.predict(given.files, predictor, build_recipe, passes=passes, supervised=one is None)
    rows = []
    try:
        with shown(results, len(given.files)) as watched:
            for result in watched:
                rows += scores_table.rows(result, predictor.name, predictor.calibrated)
                if one is None:
                    print(_line(result), flush=True)
                elif isinstance(result, inference.Failure):
                    raise SemblanceError(result.reason)
                else:
                    _print_persons(result)
                    _draw(result, faces, overlay)
    finally:  # an interruption loses nothing that is scored
        if to is not None and rows:
            scores_table.write(to, rows)
            print(f"{len(rows)} rows: {plain(to)}")
    _print_footer(predictor, source)
    if one is None:
        _print_counts(rows, given.repeated)


def _print_persons(prediction: Prediction) -> None:
    for one in prediction.persons:
        tracks = f" of {len(one.tracks)} tracks" if len(one.tracks) > 1 else ""
        times = "" if one.first_s is None else f" from {one.first_s:.1f} to {one.last_s:.1f} s"
        print(f"person {one.person}: {_describe(one.score)}; {one.pictures} pictures{tracks}{times}")
    print(_line(prediction))
    rejected = ", ".join(f"{count} {reason}" for reason, count in prediction.rejected.items()) or "none"
    print(f"rejected: {rejected}")


def _line(result: Prediction | Failure) -> str:
    from semblance.training.inference.video import Failure

    if isinstance(result, Failure):
        return f"not scored ({result.status}): {plain(result.reason)}"
    count = len(result.persons)
    note = f"; warning: {plain(result.note)}" if result.note else ""
    persons = f"the highest of {count} person{'s' if count != 1 else ''}"
    return f"{plain(result.path)}: {_describe(result.video)}; {persons}{note}"


def _draw(prediction: Prediction, faces: str | None, overlay: str | None) -> None:
    from semblance.manifests import storage
    from semblance.quality import codec
    from semblance.training.inference import overlay as overlays
    from semblance.training.inference.sheet import sheet

    if faces is not None:
        storage.write_bytes(faces, codec.encode(sheet(prediction), codec.EncodingConfig(format="png")))
        print(f"faces: {plain(faces)}")
    if overlay is not None:
        print(f"overlay of {overlays.write(prediction, overlay)} frames: {plain(overlay)}")


def _print_footer(predictor: Predictor, source: str) -> None:
    kind = "calibrated" if predictor.calibrated else "not calibrated (an ensemble, even of one run, calibrates them)"
    print(f"probabilities are {kind}; faces cut by the recipe of {plain(source)}")


def _print_counts(rows: list[dict[str, Any]], repeated: int) -> None:
    """How many inputs have a score, and why the others have none. Raises SemblanceError if none has one."""
    videos = [row for row in rows if row["level"] == "video"]
    failed = Counter(row["status"] for row in videos if row["logit"] is None)
    reasons = f" ({', '.join(f'{count} {status}' for status, count in sorted(failed.items()))})" if failed else ""
    again = f"; {repeated} were named more than once" if repeated else ""
    print(f"{len(videos) - failed.total()} of {len(videos)} inputs are scored{reasons}{again}")
    if failed.total() == len(videos):
        raise SemblanceError("No input could be scored; the reasons are above.")


def _describe(score: Scored) -> str:
    spread = "uncertainty unknown" if score.uncertainty is None else f"uncertainty {score.uncertainty:.3f}"
    return f"{score.verdict}, probability of fake {score.probability:.3f}, {spread}, logit {score.logit:.3f}"
