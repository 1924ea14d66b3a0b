"""``training evaluate``: judge runs and external detectors on a split of builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError
from semblance.training.commands.output import say

if TYPE_CHECKING:
    from semblance.training.evaluation.external import External
    from semblance.training.inference.predictor import Predictor


@friendly
def evaluate(
    data: Annotated[list[str], typer.Option("--data", help="Build folder or s3:// prefix; repeat for several.")],
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="A run, an ensemble, or a pattern like 'runs/a-seed*'; repeatable."),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(
            "--external",
            help="Another detector: NAME=module:function, NAME=file.py:function or NAME=http://host:port/path; "
            "repeatable.",
        ),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send the face crops to services that --external names.")
    ] = False,
    split: Annotated[str, typer.Option("--split", help="train, val, test or unassigned.")] = "test",
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="E.g. split_method. Default: that of the first run, or split.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Folder for the results. Default: evaluation in the last run.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Continue although the split overlaps with training data.")
    ] = False,
    allow_other_crops: Annotated[
        bool, typer.Option("--allow-other-crops", help="Continue although builds are cut otherwise than the run's.")
    ] = False,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", help="NAME=OUT: a build of the same samples to compare with.")
    ] = None,
    robust: Annotated[
        bool, typer.Option("--robust", help="Also evaluate under JPEG and resizing of the crops.")
    ] = False,
    attacks: Annotated[
        str | None,
        typer.Option("--attacks", help="Attack the runs: names joined by commas, e.g. fgsm,pgd,cw,aa-binary."),
    ] = None,
    strengths: Annotated[
        str | None,
        typer.Option("--strengths", help="Of --attacks, in [0, 1]. Default: 1/255,2/255,4/255,0.03."),
    ] = None,
    attack_pictures: Annotated[
        int, typer.Option("--attack-pictures", help="Pictures that --attacks changes, always the same ones.")
    ] = 256,
    quick_attacks: Annotated[
        bool, typer.Option("--quick-attacks", help="Few iterations of each attack: weaker, and much cheaper.")
    ] = False,
    certify: Annotated[bool, typer.Option("--certify", help="Certify the runs by randomised smoothing.")] = False,
    sigma: Annotated[float, typer.Option("--sigma", help="Noise of --certify, of values in [0, 1].")] = 0.25,
    samples: Annotated[int, typer.Option("--samples", help="Noisy copies of a picture for --certify.")] = 10_000,
    alpha: Annotated[float, typer.Option("--alpha", help="How often a certificate may be wrong.")] = 0.001,
    certify_pictures: Annotated[
        int, typer.Option("--certify-pictures", help="Pictures that --certify judges, always the same ones.")
    ] = 100,
    groups: Annotated[str | None, typer.Option("--groups", help="Table of group and video_id or target_id.")] = None,
    passes: Annotated[
        int, typer.Option("--passes", min=0, help="Passes of Monte-Carlo dropout for risk and coverage, e.g. 100.")
    ] = 0,
    cost: Annotated[bool, typer.Option("--cost", help="Also measure time, memory and operations.")] = False,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of groups.")] = 2000,
    date: Annotated[str | None, typer.Option("--date", help="Date that the page tells. Default: now.")] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave pictures of faces out of the page.")
    ] = False,
) -> None:
    """Evaluate runs and other detectors on one split of builds.

    Predictions are written as Parquet, figures as pages, tables and JSON.
    """
    from pathlib import Path

    from semblance.training.evaluation import attacked, fairness, networks, robustness, selective, smoothing, tracked
    from semblance.training.evaluation import cost as costs
    from semblance.training.evaluation import evaluate as evaluation
    from semblance.training.evaluation import external as externals
    from semblance.training.evaluation.report import files, page, security
    from semblance.training.evaluation.report.extras import Extras
    from semblance.training.evaluation.runs import matching

    if attacks is None and (strengths is not None or quick_attacks):
        option = "--quick-attacks" if strengths is None else "--strengths"
        raise UsageError(f"{option} is of --attacks; name attacks too, e.g. --attacks fgsm,pgd.")
    names, ladder = attacked.parse(attacks or "", strengths)
    strikes = None
    if attacks is not None:
        strikes = attacked.Options(names=names, strengths=ladder, pictures=attack_pictures, quick=quick_attacks)
    smooth = smoothing.Options(sigma=sigma, samples=samples, alpha=alpha, pictures=certify_pictures)
    table = fairness.read(groups) if groups is not None else None
    options = evaluation.Options(
        split=split,
        split_column=split_column,
        allow_leaks=allow_leaks,
        allow_other_crops=allow_other_crops,
        draws=draws,
        date=date,
    )
    runs = matching(run or ())
    if to is None and external and not runs:
        raise UsageError("Without a --run there is no folder for the results; name one with --to.")
    more = [f"again in {len(robustness.degradations())} altered forms (--robust)"] * robust
    more += [f"and those of {text.partition('=')[2]} (--condition)" for text in condition or ()]
    others = [externals.parse(text, send=send, more=more) for text in external or ()]

    def check(scorers: Sequence[Predictor | External]) -> None:
        for option, asked in (("--attacks", strikes is not None), ("--certify", certify)):
            if asked:
                networks.able(scorers, option)

    result = evaluation.evaluate(data, runs, options, externals=others, check=check, say=say)
    folder = Path(to) if to is not None else Path(runs[-1]) / "evaluation"
    plain_page = Extras(pictures=not no_pictures)
    evaluation.write(result, folder, None, files.written(result, plain_page))  # no extra may cost the main result
    changes = robustness.builds(result, condition or (), say=say)
    changes += robustness.robustness(result, say=say) if robust else []
    struck = attacked.measure(result, strikes, say=say) if strikes is not None else None
    certificates, told = smoothing.measure(result, smooth, say=say) if certify else ([], [])
    risks, uncertainty = selective.measure(result, passes) if passes else ({}, None)
    extras = Extras(
        changes=tuple(changes),
        fairness=fairness.fairness(result, table) if table is not None else (),
        costs=tuple(costs.measure(predictor) for predictor in result.runs.values()) if cost else (),
        uncertainty=risks or None,
        attacked=struck,
        certificates=tuple(certificates),
        told=tuple(told),
        pictures=not no_pictures,
    )
    if extras != plain_page:
        evaluation.write(result, folder, uncertainty, files.written(result, extras))
    if cost and result.externals:
        say(f"not timed: {', '.join(result.externals)}, as external")
    tracked.log(result, [folder / f"evaluation.{kind}" for kind in ("html", "md", "json")], say=say)
    print(plain(page.aligned(page.summary(result)), keep_lines=True))
    if hard := security.summary(struck, certificates):
        print(plain(page.aligned(hard), keep_lines=True))
    if few := page.caution(result):
        print(few)
    print(f"evaluation.html, .md and .json, tables/ and predictions.parquet: {plain(str(folder))}")
