"""Errors a user can cause: nearest names and optional libraries."""

from __future__ import annotations

import pytest

from particle_transformer import errors
from particle_transformer.errors import AOTError, MissingExtraError, ModelInputError, nearest

NANO = ["PuppiMET_pt", "PFMET_pt", "PuppiMET_phi", "GenMET_pt", "Jet_pt", "Jet_eta", "event", "run"]


def names_in(message: str) -> list[str]:
    head, _, names = message.partition(": ")
    assert head in ("nearest", "known")
    return names.split(", ")


def test_names_that_end_alike_are_found_where_spelling_is_far():
    found = names_in(nearest("MET_pt", NANO))
    assert {"PuppiMET_pt", "PFMET_pt", "GenMET_pt"} <= set(found)
    assert "event" not in found


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("jet_pt", "Jet_pt"), ("Jet_ptt", "Jet_pt"), ("evnt", "event"), ("met.pt", "PFMET_pt")],
)
def test_misspelt_names_find_the_right_one(wrong, right):
    message = nearest(wrong, NANO)
    assert message.startswith("nearest: ")
    assert right in names_in(message)


def test_nothing_alike_lists_what_there_is():
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
    assert nearest("zzz", [f"n{i}" for i in range(9)], count=2) == "known: n0, n1, …"
    assert nearest("x", []) == "nothing is known here"


def test_at_most_count_names():
    assert len(names_in(nearest("Jet_pt", [f"Jet_pt{i}" for i in range(50)], count=3))) == 3


def test_names_that_differ_in_case_only_are_all_given():
    assert set(names_in(nearest("met_pt", ["MET_pt", "Met_pt"]))) == {"MET_pt", "Met_pt"}


def test_missing_library_says_how_to_install_it():
    with pytest.raises(
        MissingExtraError,
        match=r"^no_such_library is not installed .*pip install "
        r"'analysis-object-transformer\[report\]'$",
    ) as caught:
        errors.require("no_such_library.part", "report")
    assert isinstance(caught.value, ImportError)
    assert "\n" not in str(caught.value)


def test_present_library_is_returned():
    assert errors.require("json", "report").loads("1") == 1


def test_all_errors_can_be_caught_as_one():
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type):
            assert issubclass(kind, AOTError)
    assert issubclass(ModelInputError, ValueError)
