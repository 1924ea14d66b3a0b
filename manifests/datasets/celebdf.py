"""Celeb-DF-v2: celebrities of the screen, forged onto each other."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import REST, DatasetInfo, Datasheet, Labels, Release, register

INFO: Final = DatasetInfo(
    name="celebdf",
    datasheet=Datasheet(
        title="Celeb-DF (v2)",
        homepage="https://github.com/yuezunli/celeb-deepfakeforensics",
        citation=(
            "Li et al., Celeb-DF: A Large-scale Challenging Dataset for DeepFake Forensics, CVPR 2020, "
            "arXiv:1909.12962."
        ),
        terms=(
            "Given out on request under the Terms to Use Celeb-DF (linked from the homepage): read them before use; "
            "assume that the videos and pictures made from them, such as these crops, may not be passed on."
        ),
        consent=(
            "The videos of celebrities and others were taken from the Internet and are not the authors' property; no "
            "consent of the people shown is reported. Who is shown may ask the authors to be removed."
        ),
        known_leaks=(
            "The published test list is by video, not by person: 56 of the 59 people are in its videos, so by person "
            "next to nothing is left to train on, and target clips of its fakes are among the videos left for training."
        ),
        label_noise="None is known: every frame of a fake is meant to be altered.",
    ),
    identity_note=(
        "Celeb-DF-v2 numbers its 59 celebrities in the names; identities are theirs. Who is shown in the YouTube-real "
        "videos is unknown: whether a celebrity or the same person is in several of them cannot be told."
    ),
    identity_basis="person",
    releases={
        REST: Release(
            date="2020-06-14", source="Li et al., CVPR 2020 (14 to 19 June); earlier copies went out on request"
        )
    },
    full={"Celeb-real": 590, "YouTube-real": 300, "Celeb-synthesis": 5_639, "people": 59, "published test videos": 518},
    labels={"deepfakebench": Labels(real={REST: "CelebDFv2_real"}, fake={REST: "CelebDFv2_fake"})},
    val_from_train=True,
)
register(INFO)
