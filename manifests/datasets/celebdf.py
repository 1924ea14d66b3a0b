"""Celeb-DF-v2, celebrities whose faces are swapped with each other, and Celeb-DF++, with 21 methods more."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import DEFAULT, DatasetInfo, Datasheet, Labels, Release, register

METHODS: Final = (  # of Celeb-DF++, without those of Celeb-DF-v2: face swaps, reenactment, talking faces
    *("BlendFace", "GHOST", "HifiFace", "InSwapper", "MobileFaceSwap", "SimSwap", "UniFace"),
    *("DaGAN", "FSRT", "HyperReenact", "LIA", "LivePortrait", "MCNET", "TPSMM"),
    *("AniTalker", "EchoMimic", "EDTalk", "FLOAT", "IP_LAP", "Real3DPortrait", "SadTalker"),
)
_PLUS: Final = Release(date="2025-07-24", source="Celeb-DF++: arXiv:2507.18015, first version")

INFO: Final = DatasetInfo(
    name="celebdf",
    datasheet=Datasheet(
        title="Celeb-DF (v2), with Celeb-DF++",
        homepage="https://github.com/yuezunli/celeb-deepfakeforensics",
        citation=(
            "Li et al., Celeb-DF: A Large-scale Challenging Dataset for DeepFake Forensics, CVPR 2020, "
            "arXiv:1909.12962. Li et al., Celeb-DF++: A Large-scale Challenging Video DeepFake Benchmark for "
            "Generalizable Forensics, arXiv:2507.18015, 2025."
        ),
        terms=(
            "Released on request under the Terms to Use Celeb-DF (linked from the homepage): read them before use. "
            "Assume that they prohibit redistribution of the videos and of derived pictures, such as these crops."
        ),
        consent=(
            "The videos of celebrities and others come from the Internet and are not the authors' property; no "
            "consent of the people shown is reported. Anyone shown may ask the authors to be removed."
        ),
        known_leaks=(
            "The published test list is by video, not by person: 56 of the 59 people appear in its videos. A split "
            "by person leaves almost nothing to train on, and target clips of its fakes are in the training set."
        ),
        label_noise="None is known: every frame of a fake is supposed to be altered.",
    ),
    identity_note=(
        "Celeb-DF-v2 has the numbers of its 59 celebrities in the file names; ids of people are these. The people in "
        "the YouTube-real videos are unknown: they may be celebrities of the set, or appear in several videos."
    ),
    identity_basis="person",
    releases={
        **dict.fromkeys(METHODS, _PLUS),
        DEFAULT: Release(
            date="2020-06-14", source="Li et al., CVPR 2020 (14 to 19 June); earlier copies were released on request"
        ),
    },
    full={"Celeb-real": 590, "YouTube-real": 300, "Celeb-synthesis": 5_639, "people": 59, "published test videos": 518},
    labels={"deepfakebench": Labels(real={DEFAULT: "CelebDFv2_real"}, fake={DEFAULT: "CelebDFv2_fake"})},
    val_from_train=True,
)
register(INFO)
