"""What ends a run is refused where it could not be kept."""

from __future__ import annotations

import pytest

from cryo_disentangle.callbacks import SignalCheckpoint
from tests.callbacks import foreign, loops, watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]


def test_a_run_without_checkpoints_is_refused() -> None:
    with pytest.raises(ValueError, match="the Trainer has none: enable_checkpointing"):
        loops.train(foreign.ConvolutionalVAE(), SignalCheckpoint())


def test_odd_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, found 0"):
        SignalCheckpoint(0)
