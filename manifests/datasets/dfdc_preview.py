"""DFDC preview: 66 numbered people and two methods."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import REST, DatasetInfo, Datasheet, Labels, Release, register

INFO: Final = DatasetInfo(
    name="dfdc-preview",
    datasheet=Datasheet(
        title="Deepfake Detection Challenge preview dataset",
        homepage="https://ai.meta.com/datasets/dfdc/",
        citation=("Dolhansky et al., The Deepfake Detection Challenge (DFDC) Preview Dataset, arXiv:1910.08854, 2019."),
        terms=(
            "Given out by Meta under the dataset's own agreement: read it before use; assume that the videos and "
            "pictures made from them, such as these crops, may not be passed on to others."
        ),
        consent="66 paid actors, who agreed to the use and manipulation of their likeness (dataset paper).",
        known_leaks=(
            "People are numbered, so an identity split can be proven. Actors of the preview may recur in the full "
            "DFDC, which has no numbers: do not train on one and test on the other as if they were unrelated."
        ),
        label_noise="Where several people are in view, one face alone may be altered; column face_label names it.",
    ),
    identity_note=(
        "DFDC preview numbers its 66 people, in metadata and names; identities are theirs. Whether one of them also "
        "appears in the full DFDC, whose actors have no numbers, cannot be told."
    ),
    identity_basis="person",
    releases={REST: Release(date="2019-10-19", source="arXiv:1910.08854, first version, with the download")},
    full={"real videos": 1_131, "fake videos": 4_119, "people": 66},
    labels={
        "deepfakebench": Labels(real={REST: "DFDCP_Real"}, fake={"method_A": "DFDCP_FakeA", "method_B": "DFDCP_FakeB"})
    },
    val_from_train=True,
)
register(INFO)
