"""What the metrics of latents and factors share: they keep both and score them at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from cryo_disentangle.metrics.all_processes import gather_samples
from cryo_disentangle.metrics.canonical_order import canonical_order
from cryo_disentangle.metrics.functional._memo import remember_last
from cryo_disentangle.metrics.functional.codes import Array, as_tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["CodesMetric", "ScoreMetric", "check_choice", "take_columns"]

_Choice = TypeVar("_Choice", bound=str)
_order = remember_last(canonical_order)


class ScoreMetric(Metric):
    """A score that no gradient flows through; from 0 to 1, the best, unless a class says other.

    Args:
        **kwargs: What torchmetrics' Metric takes.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound: float | None = 0.0
    plot_upper_bound: float | None = 1.0

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 (torchmetrics' own words)
        super().__init__(**{"dist_sync_fn": gather_samples, **kwargs})

    def plot(
        self, val: Tensor | Sequence[Tensor] | None = None, ax: Axes | None = None
    ) -> tuple[Figure, Axes | NDArray[Any]]:
        """Draws one score or a series of them.

        Args:
            val: Results of ``compute``; None takes the present one.
            ax: Where to draw; None makes a new figure.

        Returns:
            The figure and its axes.
        """
        return self._plot(val, ax)


class CodesMetric(ScoreMetric):
    """A score of latents against true factors.

    ``update`` stores both as they come; ``compute`` scores all of them, of all processes, in
    `canonical_order`: how samples were batched, shuffled or spread over processes changes nothing.
    Every metric of this kind stores the same two states, so that a MetricCollection holds them
    once. Samples that a sampler adds to fill batches up count as any other; a process may have
    none. Prefer ``update`` to calling the metric: a call scores each batch as well, which costs
    time and says little on few samples.

    As input to ``update``:
        z: Latents (posterior means), shape (B, K), or (B,) for one latent.
        factors: True factors, shape (B, D), or (B,) for one factor.

    As output of ``compute``:
        The score, a float64 scalar of the CPU, where all is copied to once.

    Args:
        **kwargs: What torchmetrics' Metric takes.
    """

    z: list[Tensor]
    factors: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 (torchmetrics' own words)
        super().__init__(**kwargs)
        self.add_state("z", default=[], dist_reduce_fx="cat")
        self.add_state("factors", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents against factors, whatever has been stored.

        Args:
            z: Latents, shape (N, K).
            factors: True factors, shape (N, D).

        Returns:
            The score, a scalar.
        """

    def update(self, z: Array, factors: Array) -> None:
        """Stores a batch.

        Args:
            z: Latents, shape (B, K), or (B,) for one latent.
            factors: True factors, shape (B, D), or (B,) for one factor.

        Raises:
            ValueError: If a shape is another or differs from that of earlier batches.
        """
        latents = take_columns(z, "z", self.z)
        truth = take_columns(factors, "factors", self.factors).to(latents.device)
        if len(latents) != len(truth):
            raise ValueError(
                f"z and factors must have as many samples, got {len(latents)} and {len(truth)}"
            )
        self.z.append(latents)
        self.factors.append(truth)

    def compute(self) -> Tensor:
        """Scores everything stored.

        Returns:
            The score, a float64 scalar.

        Raises:
            ValueError: If nothing is stored, or the metric refuses what is.
        """
        if not len(self.z):
            raise ValueError(
                f"{type(self).__name__} has nothing to score: call update(z, factors) first"
            )
        z, factors = dim_zero_cat(self.z).cpu(), dim_zero_cat(self.factors).cpu()
        order = _order(z, factors)
        return self.evaluate(z[order], factors[order])


def check_choice(value: _Choice, name: str, choices: Sequence[str]) -> _Choice:
    """Takes a word that must be one of a few.

    Args:
        value: The word.
        name: Of the option, for the message.
        choices: Words that will do.

    Returns:
        The word.

    Raises:
        ValueError: If it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def take_columns(batch: Array, name: str, stored: list[Tensor]) -> Tensor:
    """Takes a batch as columns like those that are stored.

    Args:
        batch: Shape (B, C), or (B,) for one column; of any type, which it keeps.
        name: What the batch is called in messages.
        stored: Earlier batches, each (B, C).

    Returns:
        Shape (B, C), detached.

    Raises:
        ValueError: If the shape is another or differs from that of earlier batches, or a value is
            masked or complex.
    """
    columns = as_tensor(batch, name).detach()
    if columns.ndim == 1:
        columns = columns[:, None]
    if columns.ndim != 2:
        raise ValueError(
            f"{name} must have shape (samples, columns) or (samples,), got {tuple(columns.shape)}"
        )
    if len(stored) and stored[0].shape[1] != columns.shape[1]:
        raise ValueError(
            f"{name} must have {stored[0].shape[1]} columns as in earlier batches, "
            f"got {columns.shape[1]}"
        )
    return columns
