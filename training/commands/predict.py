"""``training predict``: score a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError

if TYPE_CHECKING:
    from semblance.training.inference.video import Scored


@friendly
def predict(
    video: Annotated[str, typer.Argument(help="A video file.")],
    run: Annotated[str, typer.Option("--run", help="A run or an ensemble.")],
    to: Annotated[str | None, typer.Option("--to", help="PNG file for the scored faces.")] = None,
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
        str | None, typer.Option("--overlay", help="mp4 file for the video with boxes and verdicts drawn on it.")
    ] = None,
) -> None:
    """Score one video and every person in it: verdict, probability of fake, and uncertainty."""
    from semblance.manifests import storage
    from semblance.quality import codec
    from semblance.training.inference import overlay as overlays
    from semblance.training.inference import predictor as predictors
    from semblance.training.inference import video as inference

    if overlay is not None:
        overlays.check(video, overlay)
    if to is not None and not to.lower().endswith(".png"):
        raise UsageError(f"--to {to} must end in .png.")
    predictor = predictors.load(run)
    build_recipe, source = inference.recipe_of(predictor, recipe, settings or (), allow_other_crops=allow_other_crops)
    prediction = inference.predict(video, predictor, build_recipe, passes=passes)
    for one in prediction.persons:
        tracks = f" of {len(one.tracks)} tracks" if len(one.tracks) > 1 else ""
        times = "" if one.first_s is None else f" from {one.first_s:.1f} to {one.last_s:.1f} s"
        print(f"person {one.person}: {_describe(one.score)}; {one.pictures} pictures{tracks}{times}")
    persons = f"{len(prediction.persons)} person{'s' if len(prediction.persons) != 1 else ''}"
    print(f"{plain(video)}: {_describe(prediction.video)}; the highest of {persons}")
    kind = "calibrated" if predictor.calibrated else "not calibrated (an ensemble, even of one run, calibrates them)"
    rejected = ", ".join(f"{count} {reason}" for reason, count in prediction.rejected.items()) or "none"
    print(f"probabilities are {kind}; faces cut by the recipe of {plain(source)}; rejected: {rejected}")
    if prediction.note:
        print(f"warning: {plain(prediction.note)}")
    if to is not None:
        storage.write_bytes(to, codec.encode(inference.sheet(prediction), codec.EncodingConfig(format="png")))
        print(f"faces: {plain(to)}")
    if overlay is not None:
        print(f"overlay of {overlays.write(prediction, overlay)} frames: {plain(overlay)}")


def _describe(score: Scored) -> str:
    spread = "uncertainty unknown" if score.uncertainty is None else f"uncertainty {score.uncertainty:.3f}"
    return f"{score.verdict}, probability of fake {score.probability:.3f}, {spread}, logit {score.logit:.3f}"
