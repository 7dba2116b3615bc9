"""Autocast on the fake device, by CUDA's lists, which are not the CPU's."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor

__all__ = ["register_autocast"]

_LOWER = "mm addmm bmm addbmm baddbmm linear matmul mv addmv addr conv1d conv2d conv3d prelu"
_FLOAT = (
    "acos asin cosh cumprod.default cumsum.default erfinv exp expm1 log log10 log2 log1p "
    "reciprocal rsqrt sinh tan pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar softplus mse_loss "
    "l1_loss "
    "binary_cross_entropy_with_logits cross_entropy_loss nll_loss log_softmax.int softmax.int "
    "sum.default sum.dim_IntList prod.default prod.dim_int norm.Scalar norm.ScalarOpt_dim "
    "smooth_l1_loss kl_div cdist dist"
)
_WIDEST = (
    "addcdiv addcmul cat stack cross.default dot grid_sampler index_put.default "
    "scatter_add.default tensordot vdot atan2"
)
_RANK = {torch.float16: 0, torch.bfloat16: 0, torch.float32: 1}
# Libraries of operations live as long as they are referred to.
_KEPT: list[torch.library.Library] = []


def _target(policy: str, tensors: list[Tensor]) -> torch.dtype | None:
    """The type that a policy casts to."""
    if policy == "lower":
        return torch.get_autocast_dtype("gpu")
    if policy == "float":
        return torch.float32
    types = [x.dtype for x in tensors if x.dtype in _RANK]
    return max(types, key=lambda kind: _RANK[kind]) if types else None


def _casting(operation: Any, policy: str) -> Any:
    """An operation that casts its arguments first."""
    private: Any = torch._C.DispatchKey
    key = torch._C.DispatchKeySet(private.AutocastPrivateUse1)

    def call(*args: Any, **kwargs: Any) -> Any:
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        to = _target(policy, tensors)

        def cast(value: Any) -> Any:
            if to is None or not isinstance(value, Tensor) or value.dtype not in _RANK:
                return value
            return value.to(to) if value.device.type == "gpu" and value.dtype != to else value

        with torch._C._ExcludeDispatchKeyGuard(key):
            return operation(*pytree.tree_map(cast, args), **pytree.tree_map(cast, kwargs))

    return call


def register_autocast() -> None:
    """Makes ``torch.autocast("gpu")`` cast as CUDA does; once a process."""
    if _KEPT:
        return
    rest = torch.library.Library("_", "IMPL")
    rest.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    library = torch.library.Library("aten", "IMPL")
    for names, policy in ((_LOWER, "lower"), (_FLOAT, "float"), (_WIDEST, "widest")):
        for name in names.split():
            base, _, overload = name.partition(".")
            packet = getattr(torch.ops.aten, base)
            operation = getattr(packet, overload or "default", None)
            if operation is None:  # an overload that this torch has not
                continue
            listed = name if overload and overload != "default" else base
            library.impl(listed, _casting(operation, policy), "AutocastPrivateUse1")
    _KEPT.extend([rest, library])
