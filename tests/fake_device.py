"""A device that is not there: runs code on ``gpu:0``, computes on the CPU, finds what a GPU would.

    with FakeDevice() as seen:
        model = on_device(make_model())
        model.training_step(on_device(make_batch()), 0).backward()
    assert not seen.waits(), seen.table()

``gpu`` is torch's device for backends of others (PrivateUse1) with its guard written in Python, so
that autograd, ``Module.to``, factories and Lightning take it for a real one. Its tensors wrap
tensors of the CPU, and a dispatch mode sees every operation. What CUDA refuses raises here, too:

    mixed       tensors of different devices in one operation (numbers of the CPU are allowed)
    generator   a random generator of another device than the tensor
    numpy       a tensor of the device given to numpy
    float64     float64 on the device, where ``float64=False`` asks for a Mac's

What makes the host wait, or a graph impossible, is kept with the line of ours that asked for it:

    sync        the host reads: item, tolist, bool, nonzero, mask indexing, unique, .cpu(), ...
    h2d         a tensor of the host copied to the device
    dynamic     a shape that depends on values
    cpu_made    a tensor made on the CPU
"""

# ruff: noqa: E501
# mypy: disable-error-code="assignment,override,call-arg,attr-defined,union-attr,misc,no-untyped-call"
# Torch's types do not tell how its tensors, generators and modes may be taken apart.

from __future__ import annotations

import re
import sys
from collections import Counter
from types import FrameType
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["DEVICE", "FakeDevice", "Seen", "is_available", "on_device"]

_OURS = re.compile(r"/(cryo_disentangle|callbacks)/")
_WAITS = ("sync", "h2d", "dynamic", "cpu_made")
_CpuGenerator = torch.Generator


class _Backend:
    """What torch asks of ``torch.gpu``."""

    is_initialized = is_available = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    manual_seed_all = set_device = synchronize = staticmethod(lambda *_: None)
    get_rng_state = staticmethod(lambda *_: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, *_: torch.set_rng_state(state))


def is_available() -> bool:
    """Whether this torch lets a backend be written in Python (2.10 and later)."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


if is_available():
    backend_registration._setup_privateuseone_for_python_backend("gpu", backend_module=_Backend())
DEVICE = torch.device("gpu:0") if is_available() else torch.device("cpu")


class Seen:
    """What was found, counted by kind, place and operation."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str, str]] = Counter()
        self.recording = True
        self.float64 = True

    def add(self, kind: str, what: str) -> None:
        """Counts a finding."""
        if self.recording:
            self.found[kind, _place(), what] += 1

    def refuse(self, kind: str, what: str) -> None:
        """Raises what the device would."""
        raise RuntimeError(f"the device refuses ({kind}): {what}")

    def waits(self, *places: str) -> dict[tuple[str, str, str], int]:
        """What makes the host wait, or prevents a graph, at places that begin so."""
        return {
            key: count
            for key, count in self.found.items()
            if key[0] in _WAITS and (not places or key[1].startswith(places))
        }

    def table(self) -> str:
        """All findings, a line each."""
        return "\n".join(f"{' '.join(key)} x{count}" for key, count in sorted(self.found.items()))


_SEEN = Seen()


def _stage(name: str, function: str) -> str:
    """Where in a Trainer's loop a frame is."""
    if name.endswith("evaluation_loop.py"):
        return "validation: "
    if name.endswith("training_epoch_loop.py") and function == "advance":
        return "step: "
    return ""


def _place() -> str:
    """Innermost line of ours, after the part of the Trainer's loop it is called from."""
    frame: FrameType | None = sys._getframe(2)
    ours, stage = "", ""
    while frame is not None and not stage:
        name = frame.f_code.co_filename
        if not ours and _OURS.search(name) and "site-packages" not in name:
            ours = f"{name[_OURS.search(name).start() + 1 :]}:{frame.f_lineno}"
        stage = _stage(name, frame.f_code.co_name)
        frame = frame.f_back
    return stage + (ours or "elsewhere")


class _DeviceTensor(torch.Tensor):
    """A tensor of the device; ``inner`` holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls: Any, inner: Tensor, requires_grad: bool = False) -> Any:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=requires_grad,
        )

    def __init__(self, inner: Tensor, requires_grad: bool = False) -> None:  # noqa: ARG002
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Files are read onto the CPU, whatever device their tensors were of.
        _SEEN.add("sync", "pickle")
        return self.inner.detach().clone().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made: Any = _DeviceTensor(self.inner.detach().clone()).requires_grad_(self.requires_grad)
        if isinstance(self, nn.Parameter) or getattr(self, "_is_param", False):
            made = nn.Parameter(made, self.requires_grad)
        memo[id(self)] = made
        return made


class _Generator(_CpuGenerator):
    """Remembers the device that it was made for; draws on the CPU."""

    def __new__(cls, device: Any = "cpu") -> Any:
        made = super().__new__(cls, "cpu")
        made.made_for = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        made_for: torch.device = self.made_for
        return DEVICE if made_for.type == "gpu" else made_for


_SYNC = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim"),
    *("unique_consecutive", "equal", "bincount", "_linalg_check_errors", "_linalg_eigh"),
    *("_linalg_svd", "linalg_eig", "linalg_lstsq", "is_nonzero", "_to_dense", "linalg_lu_factor"),
    *("linalg_cholesky",),
}
_DYNAMIC = {"nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"}
# Which take no number of the CPU beside a tensor of the device.
_NO_SCALAR = {"mm", "bmm", "addmm", "index_select", "gather", "cat", "stack", "scatter"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_VIEWS = ("detach", "lift_fresh", "alias")


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, _DeviceTensor) else value


def _wrap(value: Any) -> Any:
    """A tensor of the device with these numbers."""
    if isinstance(value, _DeviceTensor) or not isinstance(value, Tensor):
        return value
    if value.dtype in (torch.float64, torch.complex128) and not _SEEN.float64:
        _SEEN.refuse("float64", f"{tuple(value.shape)} in {_place()}")
    return _DeviceTensor(value)


def _convert(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Copies to another device or type."""
    source = args[0]
    was, target = isinstance(source, _DeviceTensor), kwargs.get("device")
    will = was if target is None else torch.device(target).type == "gpu"
    if was and not will:
        _SEEN.add("sync", "copied to the host")
    elif will and not was:
        _SEEN.add("h2d", f"{tuple(source.shape)}")
    plain = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
    made = func(_inner(source), **plain)
    return _wrap(made) if will else made


def _convert_whole(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``to``, which inference mode does not take apart."""
    given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
    source, other = given["self"], given.get("other")
    dtype = given.get("dtype") or (source if other is None else other).dtype
    device = torch.device(given.get("device") or (source if other is None else other).device)
    if device.type == source.device.type and dtype == source.dtype and not given.get("copy"):
        return source
    convert = torch.ops.aten._to_copy.default
    return _convert(convert, (source,), {"dtype": dtype, "device": device})


def _copy_into(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``copy_``, which may cross devices."""
    target, source = args[0], args[1]
    if isinstance(target, _DeviceTensor) != isinstance(source, _DeviceTensor):
        kind = "h2d" if isinstance(target, _DeviceTensor) else "sync"
        _SEEN.add(kind, f"copy_ {tuple(source.shape)}")
    func(*pytree.tree_map(_inner, args), **kwargs)
    return target


def _check(name: str, args: Any, mine: list[Any], host: list[Tensor]) -> None:
    """Refuses and records what an operation on tensors of the device does."""
    if name in _INDEXED:
        indices = [x for x in pytree.tree_leaves(args[1]) if isinstance(x, Tensor)]
        if any(x.dtype == torch.bool for x in indices):
            _SEEN.add("sync", f"{name} by a mask")
        if any(not isinstance(x, _DeviceTensor) and x.ndim for x in indices):
            _SEEN.add("h2d", f"{name} by an index of the host")
        host = [x for x in host if not any(x is i for i in indices)]
    wrong = host if name in _NO_SCALAR else [x for x in host if x.ndim > 0]
    if mine and wrong:
        _SEEN.refuse("mixed", f"{name} of the device's and {[tuple(x.shape) for x in wrong]}")
    for kind, names in (("sync", _SYNC), ("dynamic", _DYNAMIC)):
        if name in names:
            _SEEN.add(kind, name)


_CONVERSIONS = {"_to_copy": _convert, "to": _convert_whole, "copy_": _copy_into}


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Runs one operation as the device would."""
    space, name = func._schema.name.split("::")
    if space == "cryo_disentangle":
        # Operations of ours in Python, of which the device would see each part.
        with _Operations():
            return torch._library.custom_ops.OPDEFS[f"{space}::{name}"]._init_fn(*args, **kwargs)
    if name in _CONVERSIONS:
        return _CONVERSIONS[name](func, args, kwargs)
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    mine = [x for x in tensors if isinstance(x, _DeviceTensor)]
    host = [x for x in tensors if not isinstance(x, _DeviceTensor)]
    if mine:
        _check(name, args, mine, host)
    plain = pytree.tree_map(_inner, kwargs)
    target = kwargs.get("device")
    made_here = bool(mine)
    if target is not None:
        made_here = torch.device(target).type == "gpu"
        plain["device"] = torch.device("cpu")
    out = func(*pytree.tree_map(_inner, args), **plain)
    if not tensors and not made_here and name not in _VIEWS:
        for made in pytree.tree_leaves(out):
            if isinstance(made, Tensor) and made.ndim:
                _SEEN.add("cpu_made", f"{name} {tuple(made.shape)}")
    if not made_here:
        return out
    # Operations in place and with out= give back the very tensors that they were given.
    known = {id(_inner(x)): x for x in mine}
    return pytree.tree_map(lambda x: known.get(id(x)) if id(x) in known else _wrap(x), out)


class _Operations(TorchDispatchMode):
    """Sees what makes tensors, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Sees what only Python does: generators, and tensors that are handed to numpy."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        generator = kwargs.get("generator")
        if generator is not None:
            tensors = [x for x in args if isinstance(x, Tensor)]
            target = kwargs.get("device") or (tensors[0].device if tensors else "cpu")
            if generator.device.type != torch.device(target).type:
                _SEEN.refuse("generator", f"{name}: one of {generator.device} for {target}")
        mine = bool(args) and isinstance(args[0], _DeviceTensor)
        if name in ("numpy", "__array__") and mine:
            _SEEN.refuse("numpy", name)
        if name == "tolist" and mine:
            _SEEN.add("sync", name)
            return args[0].inner.tolist()
        if name in ("quantile", "nanquantile") and mine:
            # It changes shapes in place, which a wrapper cannot follow.
            with torch._C.DisableTorchFunction():
                return _wrap(
                    func(*pytree.tree_map(_inner, args), **pytree.tree_map(_inner, kwargs))
                )
        return func(*args, **kwargs)


class FakeDevice:
    """Context in which the device exists.

    Args:
        float64: Whether it has float64, as GPUs have and Macs have not.
    """

    def __init__(self, float64: bool = True) -> None:
        self._float64 = float64
        self._modes: list[Any] = [_Functions(), _Operations()]

    def __enter__(self) -> Seen:
        _SEEN.found.clear()
        _SEEN.float64 = self._float64
        torch.Generator = _Generator
        self._lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        for mode in self._modes:
            mode.__enter__()
        return _SEEN

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self._lifted)
        torch.Generator = _CpuGenerator


def on_device(value: Any) -> Any:
    """Moves a module, or the tensors of nested containers, without a record.

    Args:
        value: Module or containers.

    Returns:
        The module, or new containers.
    """
    _SEEN.recording = False
    try:
        if isinstance(value, nn.Module):
            return value.to(DEVICE)
        return pytree.tree_map(lambda x: x.to(DEVICE) if isinstance(x, Tensor) else x, value)
    finally:
        _SEEN.recording = True
