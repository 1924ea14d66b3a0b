"""DFDC: the Deepfake Detection Challenge's dataset."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import REST, DatasetInfo, Datasheet, Labels, Release, register

INFO: Final = DatasetInfo(
    name="dfdc",
    datasheet=Datasheet(
        title="Deepfake Detection Challenge dataset (DFDC)",
        homepage="https://ai.meta.com/datasets/dfdc/",
        citation="Dolhansky et al., The DeepFake Detection Challenge (DFDC) Dataset, arXiv:2006.07397, 2020.",
        terms=(
            "Given out under the challenge's data agreement: the videos and pictures made from them, such as these "
            "crops, may not be passed on to others."
        ),
        consent="3,426 paid actors, who all agreed to have their likeness modified (abstract of the dataset paper).",
        known_leaks=(
            "No identities are published, so the same people stand on all sides of any split that the metadata allows."
        ),
        label_noise=(
            "Some fakes changed only the sound, according to third parties; in videos with several faces often one "
            "alone is altered. Column face_label names the altered face where the difference to the original shows it."
        ),
    ),
    identity_note=(
        "DFDC publishes no actor ids: 486 people appear in 19,154 real clips, about 39 each. The family split keeps "
        "an original with its fakes and promises nothing about people; with the whole set about 98 % of the people "
        "stand in both train and test."
    ),
    releases={
        REST: Release(date="2020-06-25", source="deepfakedetectionchallenge.ai, page of the dataset, of that day"),
    },
    full={"train parts": 50, "train videos": 119_146, "validation videos": 4_000, "test videos": 5_000},
    labels={"deepfakebench": Labels(real={REST: "DFDC_Real"}, fake={REST: "DFDC_Fake"})},
)
register(INFO)
