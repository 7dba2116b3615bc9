"""Figure 5A of Klindt et al. 2024: one energy for all temperatures makes the factors identifiable.

    python benchmarks/paper/figure5a.py --scratch runs/paper [--seeds 5]

The particles of benchmarks/losses/temperature.py, binned as in figure4.py: one factor's spread
grows fivefold from 100 to 300 K and the other's stays, or, the control, both grow as the square
root of the temperature as those of harmonic wells do. The Boltzmann prior on both, and a prior that
doesn't know temperatures on the first; of two trainings the one that reconstructs held-out
particles best. Under a minute a training on one core. Writes results/figure5a.csv and
figure5a_harmonic.csv, a row each as it comes, and figure5a.png. Rows that are there are kept.
"""

from __future__ import annotations

import numpy as np
from drawing import COLOURS, FloatArray, draw_scatter, draw_seeds, options, panels, save
from figure4 import BINNED
from harness import latents_of, read, run
from matplotlib.axes import Axes
from temperature import methods, simulation, told_apart

# Temperature turns the axes more slowly than time does.
_WEIGHTS = (0.05, 8.0)
_TABLES = {
    "figure5a": ("5", ("vanilla", "Boltzmann")),
    "figure5a_harmonic": ("harmonic", ("Boltzmann",)),
}


def _draw_spreads(axes: Axes, found: dict[str, FloatArray], title: str) -> None:
    """Standard deviations at each temperature over that at the lowest, of factors and of z."""
    levels = np.unique(found["temperature"])
    for name, style in (("factors", "--"), ("z", "-")):
        spread = np.array([found[name][found["temperature"] == kelvin].std(0) for kelvin in levels])
        order = np.argsort(spread[-1] / spread[0])
        for place, k in enumerate(order):
            label = "true factor" if name == "factors" else "z"
            axes.plot(levels, spread[:, k] / spread[0, k], style, color=COLOURS[place], label=label)
    axes.set(xlabel="temperature, K", ylabel="spread over that at 100 K")
    axes.legend(fontsize=7)
    axes.set_title(title, fontsize=10)


def main() -> None:
    """Trains, prints the tables and draws the figure."""
    chosen = options(__doc__, seeds=5)
    for title, (setting, names) in _TABLES.items():
        run(
            title,
            simulation(setting, **BINNED),
            methods(setting, names, _WEIGHTS),
            chosen,
            restarts=2,
            diagnose=told_apart,
            keep_latents=True,
        )
    rows = read(chosen.out / "figure5a.csv") + [
        row | {"method": "harmonic"} for row in read(chosen.out / "figure5a_harmonic.csv")
    ]
    figure, axes = panels(2, 3, size=3.2)
    names = ("vanilla", "Boltzmann", "harmonic")
    draw_seeds(axes[0][0], rows, names, "mcc", "MCC")
    draw_seeds(axes[1][0], rows, names, "separation", "separation by temperature")
    shown = {"figure5a": "Boltzmann", "figure5a_harmonic": "harmonic wells"}
    for place, (title, called) in enumerate(shown.items(), start=1):
        found = dict(np.load(latents_of(chosen.scratch, title, "Boltzmann")))
        draw_scatter(axes[0][place], found["z"], found["factors"][:, 0], f"{called}: factor 1")
        _draw_spreads(axes[1][place], found, called)
    save(figure, "figure5a", chosen.out)


if __name__ == "__main__":
    main()
