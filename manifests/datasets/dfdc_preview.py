"""DFDC preview: 66 numbered people and two methods."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import DEFAULT, DatasetInfo, Datasheet, Labels, Release, register

INFO: Final = DatasetInfo(
    name="dfdc-preview",
    datasheet=Datasheet(
        title="Deepfake Detection Challenge preview dataset",
        homepage="https://ai.meta.com/datasets/dfdc/",
        citation=("Dolhansky et al., The Deepfake Detection Challenge (DFDC) Preview Dataset, arXiv:1910.08854, 2019."),
        terms=(
            "Released by Meta under the dataset's own agreement: read it before use. Assume that it prohibits "
            "redistribution of the videos and of derived pictures, such as these crops."
        ),
        consent="66 paid actors, who agreed to the use and manipulation of their likeness (dataset paper).",
        known_leaks=(
            "People are numbered, so an identity split can be verified. Actors of the preview may appear in the full "
            "DFDC, which has no numbers: do not train on one and test on the other as if they were unrelated."
        ),
        label_noise="If several people are visible, only one face may be altered; column face_label marks it.",
    ),
    identity_note=(
        "DFDC preview has the numbers of its 66 people in metadata and file names; ids of people are these. Whether "
        "one of them also appears in the full DFDC, whose actors have no numbers, is unknown."
    ),
    identity_basis="person",
    releases={DEFAULT: Release(date="2019-10-19", source="arXiv:1910.08854, first version, with the download")},
    full={"real videos": 1_131, "fake videos": 4_119, "people": 66},
    labels={
        "deepfakebench": Labels(
            real={DEFAULT: "DFDCP_Real"}, fake={"method_A": "DFDCP_FakeA", "method_B": "DFDCP_FakeB"}
        )
    },
    val_from_train=True,
)
register(INFO)
