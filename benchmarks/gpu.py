"""Training step on one GPU: images/s and model-flops utilisation, beside cryoDRGN's own step.

    python benchmarks/gpu.py > benchmarks/gpu.md     # about five minutes, unattended
    python benchmarks/gpu.py --small                 # the same on a CPU in seconds, to try it out

A step is forward, backward and Adam from Hartley transforms on the device: preprocessing and
loading are measured elsewhere. The architecture is cryoDRGN's (Fourier domain, Gaussian encoding,
zdim 8, CTF and translations on), and cryoDRGN 4.3.1, where it can be imported, takes the same
batches in the same run, with its own AMP (fp16 and a loss scaler) beside our bf16. Flops are those
that exact training can't avoid: the products of the networks, once forwards and twice backwards.
MFU is their rate over the card's data sheet; *of products* is it over the rate of the same matrix
products by themselves, measured in the same run. What doesn't fit into memory is tried with half
the batch; what fails is told in its row; what time does not suffice for is left out. The bare eager
steps come first; then ``fit`` and statistics; steps with explicit volumes, rendering inference,
metrics at the end of an epoch and the simulator; every part of the tests' table in float32 and
bfloat16, with an error where a step waits for the GPU; last, what ``--model.compile`` compiles.

On a bare machine with torch and Lightning carry wheels of roma, gemmi, mrcfile, jsonargparse,
docstring-parser, typeshed-client, scikit-learn, scipy, matplotlib, jinja2 and rich (``pip install
--no-index --no-deps``) and put the repository on PYTHONPATH; cryoDRGN beside them needs no more,
for what only its analysis imports is stood in for.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from gpu_parts import beside, strict_parts
from gpu_steps import (
    LAYERS,
    ZDIM,
    Case,
    Setting,
    arithmetic,
    cryodrgn_step,
    make_batch,
    our_model,
    our_step,
    seconds_a_call,
)
from gpu_whole import whole

# Dense products of the data sheets in flop/s: bfloat16, float32 (without TF32).
PEAKS = {"H200": (989e12, 67e12), "H100": (989e12, 67e12), "A100": (312e12, 19.5e12)}
# What waits for the device: reading a number, and finding where a mask is true.
WAITS = ("aten::_local_scalar_dense", "aten::nonzero")


def product_rate(setting: Setting, precision: str) -> float:
    """Flop/s of products as a hidden layer's."""
    dtype = {"bf16": torch.bfloat16, "amp": torch.float16}.get(precision, torch.float32)
    rows = 2**17 if setting.device.type == "cuda" else 2**10
    a = torch.randn(rows, setting.width, device=setting.device, dtype=dtype)
    b = torch.randn(setting.width, setting.width, device=setting.device, dtype=dtype)
    taken = seconds_a_call(lambda: a @ b, setting.device, setting.seconds / 4)
    return 2 * rows * setting.width**2 / taken


def peak_rate(device: torch.device, precision: str) -> float | None:
    """The data sheet's flop/s, where known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    found = [peaks for card, peaks in PEAKS.items() if card in name]
    return found[0][precision == "fp32"] if found else None


def row(case: Case, setting: Setting, count: int, rates: dict[str, float]) -> tuple[str, float]:
    """A row of the table, and its images/s."""
    device = setting.device
    make = cryodrgn_step if case.who == "cryoDRGN" else our_step
    while True:
        try:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            step = make(case, setting, count)
            first = float(step())
            taken = seconds_a_call(step, device, setting.seconds)
            break
        except torch.OutOfMemoryError:
            if count == 1:
                raise
            count //= 2
        step = None
        torch.cuda.empty_cache()
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    rate = count / taken * arithmetic(case, setting)
    peak = peak_rate(device, case.precision)
    if case.precision not in rates:
        rates[case.precision] = product_rate(setting, case.precision)
    words = [
        *head(case),
        str(count),
        f"{count / taken:.1f}",
        f"{rate / 1e12:.2f}",
        "" if peak is None else f"{100 * rate / peak:.0f} %",
        f"{100 * rate / rates[case.precision]:.0f} %",
        f"{memory:.1f}",
        f"{first:.5f}",
    ]
    return f"| {' | '.join(words)} |", count / taken


def head(case: Case) -> list[str]:
    """First cells of a row."""
    flags = ("yes" if flag else "" for flag in (case.compiled, case.intervention))
    return [str(case.box_size), case.who, case.precision, *flags]


def cases(box_sizes: Iterable[int], *, compiled: bool, amp: bool) -> list[Case]:
    """All rows, the most wanted first."""
    found = []
    for box_size, precision in itertools.product(box_sizes, ("bf16", "fp32")):
        found.append(Case(box_size, "ours", precision))
        theirs = "amp" if precision == "bf16" else "fp32"
        if theirs == "fp32" or amp:
            found.append(Case(box_size, "cryoDRGN", theirs))
        found.append(Case(box_size, "ours", precision, intervention=True))
    if compiled:
        found += [
            case._replace(compiled=True)
            for intervention in (False, True)
            for case in found
            if case.who == "ours" and case.intervention == intervention
        ]
    return found


def table(
    rows: list[Case], counts: dict[int, int], setting: Setting, minutes: float
) -> dict[Case, float]:
    """Prints the rows as they are measured; returns images/s."""
    end, rates = time.monotonic() + 60 * minutes, dict[str, float]()
    print(
        "| D | who | precision | compiled | intervention | batch | images/s | TFLOP/s | MFU | ",
        end="",
    )
    print("of products | memory, GiB | first loss |\n|" + "---|" * 12)
    found = {}
    for case in rows:
        if time.monotonic() > end:
            print(f"| {' | '.join(head(case))} | left out: no time |||||||")
            continue
        try:
            line, found[case] = row(case, setting, counts[case.box_size], rates)
        except ImportError as error:
            line = f"| {' | '.join(head(case))} | absent: {error} |||||||"
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:120].replace("|", "/")
            line = f"| {' | '.join(head(case))} | {type(error).__name__}: {reason} |||||||"
        print(line, flush=True)
    return found


def ratios(found: dict[Case, float]) -> None:
    """Prints what the bars ask for."""
    print(
        "\n| D | ours | images/s over cryoDRGN's | intervention costs, times |\n|---|---|---|---|"
    )
    for case, speed in found.items():
        if case.who == "cryoDRGN" or case.intervention:
            continue
        theirs = found.get(
            Case(case.box_size, "cryoDRGN", "amp" if case.precision == "bf16" else "fp32")
        )
        with_it = found.get(case._replace(intervention=True))
        words = [
            str(case.box_size),
            case.precision + (", compiled" if case.compiled else ""),
            "" if theirs is None else f"{speed / theirs:.2f}",
            "" if with_it is None else f"{speed / with_it:.2f}",
        ]
        print(f"| {' | '.join(words)} |")


def waits(case: Case, setting: Setting, count: int) -> str:
    """Where a training step waits for the device: on a GPU the first place, on a CPU the calls."""
    model, device = our_model(case, setting), setting.device
    batch = make_batch(case.box_size, count, device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16"):
            loss = model.loss_terms(batch, step=0, sample=True)["loss"]
        loss.backward()

    step()
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
        except RuntimeError as error:
            return f"waits: {str(error).splitlines()[0]}"
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return "waits nowhere"
    recording: AbstractContextManager[torch.profiler.profile] = torch.profiler.profile()
    with recording as profile:
        step()
    counts = {event.key: event.count for event in profile.key_averages() if event.key in WAITS}
    return f"calls that would wait on a GPU: {counts or 'none'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes on a CPU")
    parser.add_argument("--minutes", type=float, default=4.0, help="begin no row after")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    args = parser.parse_args()
    if not args.small and not torch.cuda.is_available():
        parser.error("there is no GPU: --small tries the script out on a CPU")
    if args.small:
        setting, counts = Setting(torch.device("cpu"), 32, 0.05), {16: 4, 32: 4}
    else:
        setting, counts = Setting(torch.device("cuda"), 1024, 4.0), {256: 32, 128: 64}
    name = platform.machine() if args.small else torch.cuda.get_device_name()
    print(f"{name}, torch {torch.__version__}, {setting.width} x {LAYERS}, zdim {ZDIM}\n")
    compiled = not (args.small or args.no_compile)
    rows = cases(counts, compiled=compiled, amp=not args.small)
    begin = time.monotonic()
    found = table([r for r in rows if not r.compiled], counts, setting, args.minutes)
    whole(setting, counts, found)
    end = begin + 60 * args.minutes
    beside(setting, counts, end)
    strict_parts(setting.device, end)
    if compiled:
        print()
        left = args.minutes - (time.monotonic() - begin) / 60
        found |= table([r for r in rows if r.compiled], counts, setting, left)
    ratios(found)
    print()
    largest = max(counts)
    for precision, intervention in itertools.product(("bf16", "fp32"), (False, True)):
        case = Case(largest, "ours", precision, intervention=intervention)
        what = f"{precision}{', intervention' if intervention else ''}"
        print(f"- D = {largest}, {what}: {waits(case, setting, counts[largest])}")


if __name__ == "__main__":
    main()
