"""One of two processes that score the same samples together: ``python -m`` by the test.

Arguments: folder to share, rank.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import Tensor, distributed

from cryo_disentangle.metrics import IRS, MED, DisentanglementMetrics, Explicitness
from cryo_disentangle.metrics.fixed_factor_scores import (
    InterventionalBetaVAEScore,
    InterventionalFactorVAEScore,
)

COUNT, FIRST = 1000, 301


def codes() -> tuple[Tensor, Tensor]:
    """Noisy, rotated latents of two factors and one of nothing."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(COUNT, 2, generator=generator)
    mixed = factors @ torch.tensor([[0.9, 0.4], [-0.4, 0.9]])
    noise = 0.05 * torch.randn(COUNT, 3, generator=generator)
    return torch.cat([mixed, torch.zeros(COUNT, 1)], 1) + noise, factors


def interventions() -> tuple[Tensor, Tensor, Tensor]:
    """As many interventions: codes of samples before and after a factor was fixed, and which."""
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(2, (COUNT,), generator=generator)
    first, second = torch.rand(2, COUNT, 8, 2, generator=generator)
    fixed = torch.nn.functional.one_hot(index, 2).bool()[:, None]
    return first + 0.5 * first.flip(2), torch.where(fixed, first[:, :1], second), index


def scores(rows: Tensor) -> dict[str, float]:
    """Scores of the rows of all processes."""
    (z, factors), (free, fixed, index) = codes(), interventions()
    metrics = DisentanglementMetrics()
    metrics.add_metrics({"med": MED(), "irs": IRS(), "explicitness": Explicitness()})
    beta, factor = InterventionalBetaVAEScore(), InterventionalFactorVAEScore()
    for batch in rows.split(64) if len(rows) else ():
        metrics.update(z[batch], factors[batch])
        beta.update(free[batch], fixed[batch], index[batch])
        factor.update(fixed[batch], index[batch])
    found = metrics.compute() | {"beta": beta.compute(), "factor": factor.compute()}
    return {name: float(value) for name, value in found.items()}


def deals() -> dict[str, Tensor]:
    """Rows of the first process: 301 in a run, every other one as data loaders deal, or all."""
    rows = torch.arange(COUNT)
    strides = (rows % 2 == 0) & (rows < 2 * FIRST)
    return {"runs": rows < FIRST, "strides": strides, "all": rows >= 0}


def main(folder: Path) -> None:
    """Scores this process's rows together with the other's."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    rows = torch.arange(COUNT)
    found = {name: scores(rows[mine if rank == 0 else ~mine]) for name, mine in deals().items()}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()
