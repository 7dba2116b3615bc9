"""What jsonargparse and workers wrap round a message is taken off."""

from __future__ import annotations

import jsonargparse
import pytest
import torch

from cryo_disentangle.options.sentences import one_sentence, reason
from cryo_disentangle.protocols import ConformationPrior


class _Part:
    def __init__(self, number: int = 1, prior: ConformationPrior | None = None) -> None:
        self.prior = prior
        if number < 0:
            raise ValueError(f"number must not be negative, found {number}")


def refused(*words: str) -> str:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments((_Part,), "part")
    parser.add_argument("--other", type=int | None)
    with pytest.raises((jsonargparse.ArgumentError, ValueError)) as told:
        parser.instantiate(parser.parse_args(list(words)))
    return reason(told.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--part.numbr=3"], "part: _Part: there is no option 'numbr', did you mean 'number'?"),
        (["--part.number=x"], "part.number: expected int, found 'x'"),
        (["--part.number=-1"], "number must not be negative, found -1"),
        (
            ["--part.prior=StandardNormals"],
            "part.prior: expected a class that is imported, or its path package.module.Class, "
            "found 'StandardNormals', did you mean 'StandardNormal'?",
        ),
        (
            ["--part.prior=StandardNormal", "--part.prior.nope=3"],
            "part.prior: StandardNormal: there is no option 'nope'",
        ),
        (["--other=x"], "other: expected int or null, found x"),
    ],
)
def test_of_a_union_the_part_that_was_meant_is_named(words: list[str], said: str) -> None:
    import cryo_disentangle.priors  # noqa: F401 - known by short names from now on

    assert refused(f"--part={__name__}._Part", *words) == said


class _Bad(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise ValueError(f"particle {index}: no\nimage")


def test_an_error_of_a_worker_is_told_without_its_traceback() -> None:
    with pytest.raises(ValueError, match="Original Traceback") as told:
        next(iter(torch.utils.data.DataLoader(_Bad(), num_workers=1)))
    assert one_sentence(told.value) == "particle 0: no image"


def test_a_long_message_keeps_its_ends() -> None:
    said = one_sentence(ValueError("begin " + "x" * 1000 + " end"), 100)
    assert len(said) <= 100
    assert said.startswith("begin x")
    assert said.endswith("x end")


def test_an_empty_message_is_named() -> None:
    assert one_sentence(KeyError()) == "KeyError"
