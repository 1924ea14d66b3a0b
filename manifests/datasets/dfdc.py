"""DFDC: the Deepfake Detection Challenge's dataset."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import DEFAULT, DatasetInfo, Datasheet, Labels, Release, register

INFO: Final = DatasetInfo(
    name="dfdc",
    datasheet=Datasheet(
        title="Deepfake Detection Challenge dataset (DFDC)",
        homepage="https://ai.meta.com/datasets/dfdc/",
        citation="Dolhansky et al., The DeepFake Detection Challenge (DFDC) Dataset, arXiv:2006.07397, 2020.",
        terms=(
            "Released under the challenge's data agreement, which prohibits redistribution of the videos and of "
            "derived pictures, such as these crops."
        ),
        consent="3,426 paid actors, who all agreed to have their likeness modified (abstract of the dataset paper).",
        known_leaks=("No identities are published, so the same people appear in every part of any split by metadata."),
        label_noise=(
            "According to third parties, some fakes changed only the audio. In videos with several faces, often only "
            "one is altered. Column face_label marks the altered face if the difference to the original shows it."
        ),
    ),
    identity_note=(
        "DFDC publishes no actor ids: 486 people appear in 19,154 real clips, about 39 each. The family split keeps "
        "an original with its fakes and guarantees nothing about people: with the full set, about 98 % of the people "
        "appear in both train and test."
    ),
    releases={
        DEFAULT: Release(
            date="2020-06-25", source="deepfakedetectionchallenge.ai, page of the dataset, as of that day"
        ),
    },
    full={"train parts": 50, "train videos": 119_146, "validation videos": 4_000, "test videos": 5_000},
    labels={"deepfakebench": Labels(real={DEFAULT: "DFDC_Real"}, fake={DEFAULT: "DFDC_Fake"})},
)
register(INFO)
