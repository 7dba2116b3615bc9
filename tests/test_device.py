"""Every part runs on a device that is not the CPU, and no training step makes the host wait."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from tests.device_parts import PARTS, make_part_batch
from tests.fake_autocast import register_autocast
from tests.fake_device import FakeDevice, is_available, on_device
from tests.small_model import make_model

pytestmark = pytest.mark.skipif(not is_available(), reason="torch before 2.10 has no such backend")


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(PARTS))
def test_a_part_trains_without_waiting(name: str, autocast: bool) -> None:
    # Parts are moved, and others use the same.
    options = deepcopy(PARTS[name])
    batch = make_part_batch(options.pop("batch", ""))
    # Apple's GPUs have no float64, and nothing here asks for more than they have.
    with FakeDevice(float64=False) as seen:
        register_autocast()
        model, batch = on_device(make_model(**options)), on_device(batch)
        optimizer = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
        for step in range(2):
            # What is made once may be made in the first step.
            seen.found.clear()
            model.begin_step(step)
            with torch.autocast("gpu", torch.bfloat16, enabled=autocast):
                loss = model.loss_terms(batch, step=step, sample=True)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert not seen.waits(), seen.table()
        # Data-parallel processes wait for the gradient of each.
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert [name for name in trained if model.get_parameter(name).grad is None] == []
