"""An ensemble in the tracker of its members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from semblance.manifests.errors import SemblanceError
from semblance.training.ensemble.fit import Combined
from semblance.training.inference.predictor import ENSEMBLE
from semblance.training.runs import folder, tracking
from semblance.training.runs.tracking import Reference


def log(combined: Combined, runs: Sequence[str], *, say: Callable[[str], None]) -> None:
    """Track an ensemble beside its first tracked member, in the same experiment, and write its run.json.

    Weights and temperatures are its parameters. A store that cannot be reached is reported, and costs nothing else.
    A store beside the members is not used if the ensemble is in another folder: it could not be found again.
    """
    for run in map(Path, runs):
        try:
            member = tracking.reopen(run, folder.read_json(run / "run.json"))
            apart = run.resolve().parent != combined.path.resolve().parent
            if member is None or (member.reference.address == tracking.BESIDE and apart):
                continue
            own = member.sibling(f"ensemble {combined.path.resolve().name}")
            weights = {f"weight/{name}": weight for name, weight in combined.weights.items()}
            fitted = {"temperature/frame": combined.frame.value, "temperature/video": combined.video.value}
            own.describe(weights | fitted, {"members": ", ".join(combined.weights)})
            own.attach(combined.path / ENSEMBLE)
            own.close("FINISHED")
        except SemblanceError as error:
            say(f"not tracked: {error}")
            continue
        reference = Reference(address=member.reference.address, run_id=own.reference.run_id)
        folder.write_json(combined.path / "run.json", {"tracking": asdict(reference)})
        return
