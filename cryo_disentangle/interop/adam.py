"""The state of an Adam, from a cryoDRGN run to one of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["continue_adam"]


def continue_adam(
    optimizer: torch.optim.Optimizer, state: Mapping[str, Any], networks: Sequence[nn.Module]
) -> int:
    """Lets an Adam go on where that of another run ended, parameter by parameter.

    Args:
        optimizer: An optimiser; others than `torch.optim.Adam` are left as they are.
        state: The other's ``state_dict``.
        networks: Networks whose parameters, one after the other, are the other's.

    Returns:
        How many parameters go on: those that the optimiser has and whose moments fit.
    """
    if type(optimizer) is not torch.optim.Adam:
        return 0
    ours = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    parameters = [parameter for network in networks for parameter in network.parameters()]
    continued = 0
    for number, parameter in enumerate(parameters):
        moments = state.get("state", {}).get(number)
        if parameter in ours and moments and _fit(parameter, moments):
            optimizer.state[parameter] = {
                name: moments[name].to(parameter.device, copy=True)
                for name in ("exp_avg", "exp_avg_sq")
            }
            # Adam counts on the host.
            optimizer.state[parameter]["step"] = torch.as_tensor(
                float(moments["step"]), dtype=torch.float32
            )
            continued += 1
    return continued


def _fit(parameter: Tensor, moments: Mapping[str, Any]) -> bool:
    """Whether moments are of a parameter of that shape."""
    return "step" in moments and all(
        isinstance(moments.get(name), Tensor) and moments[name].shape == parameter.shape
        for name in ("exp_avg", "exp_avg_sq")
    )
