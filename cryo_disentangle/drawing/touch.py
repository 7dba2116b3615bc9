"""A scatter of particles that one can zoom, colour and draw round, as one piece of HTML."""

from __future__ import annotations

import base64
import io
from importlib.util import find_spec
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.image import imsave

from cryo_disentangle.drawing.scatter import ScatterData
from cryo_disentangle.drawing.style import CIRCLE, SCALE

__all__ = ["TouchableScatter", "can_be_touched", "draw_touchable"]

_MAPS = {"linear": SCALE, "cyclic": CIRCLE, "category": mpl.colormaps["tab20"]}
# An 8-bit palette.
_LEVELS = 256
# Points of few particles are larger.
_SIZES = ((20_000, 5), (200_000, 3), (np.inf, 2))

_RECOLOUR = """
const name = cb_obj.value, column = columns[name];
const codes = store.data[name];
points.data.colour = codes;
points.change.emit();
mapper.palette = palettes[column.kind];
bar.title = name;
bar.major_label_overrides = new Map([[0, column.low], [255, column.high]]);
"""
_MOVE = """
const decode = (name) => {
  const {start, step} = axes[name], codes = store.data[name];
  const values = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) values[i] = start + step * codes[i];
  return values;
};
const [x, y] = [decode(horizontal.value), decode(vertical.value)];
points.data.x = x;
points.data.y = y;
if (pictured !== null) {
  pictured.data.x = Array.from(pictured.data.place, (i) => x[i]);
  pictured.data.y = Array.from(pictured.data.place, (i) => y[i]);
  pictured.change.emit();
}
points.change.emit();
plot.xaxis[0].axis_label = horizontal.value;
plot.yaxis[0].axis_label = vertical.value;
plot.reset.emit();
"""
_SAVE = """
const chosen = Array.from(points.selected.indices).sort((a, b) => a - b);
if (chosen.length === 0) { count.text = "Draw a lasso round particles first."; return; }
const positions = places === null ? chosen : chosen.map((i) => places.data.place[i]);
const text = JSON.stringify({...lasso, positions: positions});
const link = document.createElement("a");
link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
link.download = "lasso.json";
link.click();
URL.revokeObjectURL(link.href);
"""
_COUNT = """
const chosen = points.selected.indices.length;
const all = points.data.x.length;
count.text = `${chosen.toLocaleString("en")} of ${all.toLocaleString("en")} chosen`;
"""


class TouchableScatter(NamedTuple):
    """Pieces of HTML.

    Attributes:
        head: Scripts that the page needs, whole.
        body: The scatter and its controls.
    """

    head: str
    body: str


def can_be_touched() -> bool:
    """Whether Bokeh is there, the optional extra ``pages``."""
    return find_spec("bokeh") is not None


def draw_touchable(data: ScatterData) -> TouchableScatter:
    """Draws particles so that they can be zoomed, coloured and drawn round.

    Args:
        data: The particles.

    Returns:
        HTML that needs no network.
    """
    from bokeh.embed import components
    from bokeh.layouts import column, row
    from bokeh.models import Button, Div, Select
    from bokeh.resources import INLINE

    scatter = _Scatter(data)
    axes, colours = list(data.axes), list(data.colours)
    horizontal = Select(title="across", value=axes[0], options=axes, width=150)
    vertical = Select(title="up", value=axes[min(1, len(axes) - 1)], options=axes, width=150)
    controls: list[Any] = [horizontal, vertical]
    for select in controls:
        select.js_on_change("value", scatter.move(horizontal, vertical))
    if colours:
        colour = Select(title="colour", value=colours[0], options=colours, width=190)
        colour.js_on_change("value", scatter.recolour())
        controls = [*controls, colour]
    count = Div(text="Draw a lasso round particles, then save it.")
    save = Button(label="Save the lasso", button_type="primary", width=150)
    save.js_on_event("button_click", scatter.save(count))
    scatter.count_chosen(count)
    layout = column(
        row(*controls, styles={"flex-wrap": "wrap"}),
        scatter.plot,
        row(save, count, styles={"flex-wrap": "wrap"}),
        sizing_mode="stretch_width",
    )
    script, division = components(layout)
    return TouchableScatter(INLINE.render(), division + script)


class _Scatter:
    """The plot, its data and what happens to them in the reader's browser."""

    def __init__(self, data: ScatterData) -> None:
        from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, LinearColorMapper

        self.data = data
        self.store = ColumnDataSource(
            {name: part.codes for name, part in {**data.axes, **data.colours}.items()}
        )
        names = list(data.axes)
        x, y = data.axes[names[0]], data.axes[names[min(1, len(names) - 1)]]
        first = next(iter(data.colours.items()), None)
        colour = np.zeros(len(data), np.uint8) if first is None else first[1].codes
        self.points = ColumnDataSource({"x": x.values(), "y": y.values(), "colour": colour})
        kind = "linear" if first is None else first[1].kind
        self.mapper = LinearColorMapper(palette=_palette(kind), low=0, high=_LEVELS - 1)
        self.plot = _figure(names[0], names[min(1, len(names) - 1)])
        size = next(size for most, size in _SIZES if len(data) <= most)
        self.plot.scatter(
            "x",
            "y",
            source=self.points,
            size=size,
            line_color=None,
            fill_alpha=0.7,
            nonselection_fill_alpha=0.1,
            fill_color={"field": "colour", "transform": self.mapper},
        )
        self.bar = ColorBar(color_mapper=self.mapper, ticker=FixedTicker(ticks=[0, _LEVELS - 1]))
        if first is not None:
            self.bar.title = first[0]
            self.bar.major_label_overrides = {0: first[1].ends()[0], 255: first[1].ends()[1]}
            self.plot.add_layout(self.bar, "below")
            self.bar.height = 10
        self.pictured = self._pictures()

    def _pictures(self) -> Any:  # noqa: ANN401 - Bokeh's classes are known where it is there
        """Particles whose image is seen on hover, or None."""
        from bokeh.models import ColumnDataSource, HoverTool

        data = self.data
        if not len(data.images):
            return None
        x, y = (np.asarray(self.points.data[axis])[data.pictured] for axis in "xy")
        source = ColumnDataSource(
            {"x": x, "y": y, "place": data.pictured, "image": [_png(i) for i in data.images]}
        )
        drawn = self.plot.scatter(
            "x", "y", source=source, size=7, fill_color=None, line_color="black", line_alpha=0.5
        )
        image = '<img src="@image" width="96" height="96"><br>particle @place'
        self.plot.add_tools(HoverTool(renderers=[drawn], tooltips=image))
        return source

    def recolour(self) -> Any:  # noqa: ANN401
        """Colours particles by another column."""
        columns = {
            name: {"kind": part.kind, "low": part.ends()[0], "high": part.ends()[1]}
            for name, part in self.data.colours.items()
        }
        return self._callback(
            _RECOLOUR,
            columns=columns,
            palettes={kind: _palette(kind) for kind in _MAPS},
            mapper=self.mapper,
            bar=self.bar,
        )

    def move(self, horizontal: Any, vertical: Any) -> Any:  # noqa: ANN401
        """Shows other coordinates."""
        axes = {
            name: {"start": part.start, "step": part.step} for name, part in self.data.axes.items()
        }
        return self._callback(
            _MOVE,
            axes=axes,
            horizontal=horizontal,
            vertical=vertical,
            pictured=self.pictured,
            plot=self.plot,
        )

    def save(self, count: Any) -> Any:  # noqa: ANN401
        """Saves who was drawn round."""
        from bokeh.models import ColumnDataSource

        places = self.data.places
        source = None if places is None else ColumnDataSource({"place": places})
        return self._callback(_SAVE, lasso=self.data.lasso, places=source, count=count)

    def count_chosen(self, count: Any) -> None:  # noqa: ANN401
        """Says how many are drawn round."""
        self.points.selected.js_on_change("indices", self._callback(_COUNT, count=count))

    def _callback(self, code: str, **more: Any) -> Any:  # noqa: ANN401
        from bokeh.models import CustomJS

        return CustomJS(args={"points": self.points, "store": self.store, **more}, code=code)


def _figure(across: str, up: str) -> Any:  # noqa: ANN401
    """An empty plot."""
    from bokeh.plotting import figure

    return figure(
        height=520,
        sizing_mode="stretch_width",
        output_backend="webgl",
        tools="pan,wheel_zoom,box_zoom,lasso_select,tap,reset",
        active_drag="lasso_select",
        active_scroll="wheel_zoom",
        x_axis_label=across,
        y_axis_label=up,
        toolbar_location="above",
        name="particles",
    )


def _palette(kind: str) -> list[str]:
    """Colours of all levels; categories repeat."""
    colours = _MAPS[kind]
    if kind == "category":
        return [to_hex(colours(k % 20)) for k in range(_LEVELS)]
    return [to_hex(colours(k / (_LEVELS - 1))) for k in range(_LEVELS)]


def _png(image: Any) -> str:  # noqa: ANN401
    """A small picture as an address that holds it whole."""
    file = io.BytesIO()
    imsave(file, image, cmap="gray", vmin=0, vmax=255, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
