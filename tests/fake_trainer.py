"""Lightning's accelerator for the fake device, by the name ``fake`` on the command line."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry

from tests.fake_device import DEVICE

__all__ = ["ON_DEVICE", "STRATEGY"]


class FakeAccelerator(Accelerator):
    """One device."""

    def setup_device(self, device: torch.device) -> None:
        """There is nothing to set up."""

    def teardown(self) -> None:
        """There is nothing to tear down."""

    def get_device_stats(self, device: Any) -> dict[str, Any]:  # noqa: ARG002
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:  # noqa: ARG004
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:  # noqa: ARG004
        return [DEVICE]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "fake"


AcceleratorRegistry.register("fake", FakeAccelerator)
StrategyRegistry.register("fake", SingleDeviceStrategy, device=DEVICE)
STRATEGY = "fake"
ON_DEVICE = ["--trainer.accelerator", "fake", "--trainer.strategy", "fake"]
