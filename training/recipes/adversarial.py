"""The plan's adversarial training: its recipes with a share of every batch attacked, and a small form."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.recipes import efficientnet_b4, f3net, resnet50
from semblance.training.recipes.base import TrainingRecipe, derive, register
from semblance.training.regimes.adversarial import AdversarialConfig

READINGS: Final = (
    "30 % of every batch is attacked and the rest is natural; the share is exact in each device's part of a batch.",
    "Attacked pictures are augmented, but not mixed with others, and keep their hard labels.",
    "The attack of a step is FGSM or PGD, each as likely. C&W and AutoAttack would cost 13 to 19 plain steps each even "
    "with few iterations; regime.attacks takes them (cw, aa-binary).",
    "Progressive: the strength grows evenly from 0 to 0.03 over the first epochs (regime.ramp_epochs).",
    "Every 10 epochs PGD of 10 steps on 256 pictures of val, chosen by hash, half of each class.",
    "0.03 is meant in [0, 1], before normalisation: 7.65 grey levels.",
)


def adversarial(base: TrainingRecipe) -> TrainingRecipe:
    """The recipe under the name ``adversarial_...`` with the plan's adversarial regime."""
    return derive(base, f"adversarial_{base.name}", {"regime": AdversarialConfig().model_dump(mode="json")})


RECIPE: Final = adversarial(resnet50.RECIPE)

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "adversarial_resnet50_small": {
        **resnet50.VARIANTS["resnet50_small"],
        "augment.size": 64,
        "regime.ramp_epochs": 4.0,
        "regime.judge_every": 4,
    },
}

register(RECIPE, VARIANTS, (*resnet50.READINGS, *READINGS))
register(adversarial(efficientnet_b4.RECIPE), {}, (*efficientnet_b4.READINGS, *READINGS))
register(adversarial(f3net.RECIPE), {}, (*f3net.READINGS, *READINGS))
