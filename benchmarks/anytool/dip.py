"""Quantiles of the dip of uniform samples, as `metrics.functional.dip` has them.

python benchmarks/anytool/dip.py
"""

from __future__ import annotations

import numpy as np

from cryo_disentangle.metrics.functional.dip import dip

ROWS, DRAWS = 2_000, 8_000
PROBABILITIES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)

if __name__ == "__main__":
    generator = np.random.default_rng(0)
    found = [dip(generator.uniform(size=ROWS)) * ROWS**0.5 for _ in range(DRAWS)]
    print(np.round(np.quantile(found, PROBABILITIES), 4).tolist())
