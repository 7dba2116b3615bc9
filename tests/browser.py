"""A page opened in headless Chromium: a lasso is drawn on its particles and saved."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@contextmanager
def opened(page: Path, downloads: Path) -> Iterator[Any]:
    """Opens a page and waits until its particles are drawn; skips where there is no Chromium.

    Args:
        page: The page.
        downloads: Folder that its files are saved to.

    Yields:
        The driver.
    """
    pytest.importorskip("selenium", reason="selenium is not installed")
    if _CHROMIUM is None or _DRIVER is None:
        pytest.skip("there is no Chromium with its driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_argument("--window-size=1200,1000")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=_DRIVER)
    )
    try:
        driver.get(page.as_uri())
        idle = "return Bokeh.documents[0]?.is_idle === true"
        assert until(lambda: driver.execute_script(idle)), "the page does not come to rest"
        yield driver
    finally:
        driver.quit()


def until(found: Callable[[], Any], seconds: float = 120) -> Any:
    """Waits until something is there."""
    end = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def save_left_part(browser: Any, share: float, saved: Path) -> None:
    """Draws a lasso round the left part of the plot, and saves it.

    Args:
        browser: With an open page.
        share: Of the plot's width.
        saved: File that is then waited for.
    """
    assert until(lambda: _draw(browser, share)), "a lasso chooses no particles"
    _click_save(browser)
    assert until(saved.is_file), "no file was saved"


def _draw(browser: Any, share: float) -> bool:
    """Draws the lasso, and tells whether particles are chosen: a busy page may miss its start."""
    from selenium.webdriver.common.action_chains import ActionChains

    x, y, width, height = _inner_frame(browser)
    drag = ActionChains(browser, duration=20)
    drag.w3c_actions.pointer_action.move_to_location(round(x + width * 0.01), round(y + 3))
    drag.w3c_actions.pointer_action.pointer_down()
    ends = [(share, 0.01), (share, 0.99), (0.01, 0.99), (0.01, 0.02)]
    for across, down in ends:
        for step in (0.5, 1.0):
            place = (round(x + width * across * step), round(y + height * down))
            drag.w3c_actions.pointer_action.move_to_location(*place)
    drag.w3c_actions.pointer_action.pointer_up()
    drag.perform()
    script = """
    const plot = Bokeh.documents[0].get_model_by_name("particles");
    return plot.renderers.some((drawn) => drawn.data_source?.selected.indices.length > 0);
    """
    return bool(until(lambda: browser.execute_script(script), 5))


def _inner_frame(browser: Any) -> tuple[float, float, float, float]:
    """Place of the plot's frame in the window, in pixels: left, top, width, height."""
    script = """
    const plot = Bokeh.documents[0].get_model_by_name("particles");
    const view = Bokeh.index.find_one(plot);
    view.el.scrollIntoView({block: "center"});
    const box = view.el.getBoundingClientRect(), frame = view.frame.bbox;
    return [box.left + frame.left, box.top + frame.top, frame.width, frame.height];
    """
    found: list[float] = browser.execute_script(script)
    return (found[0], found[1], found[2], found[3])


def _click_save(browser: Any) -> None:
    """Clicks the button, which lies within roots of shadow."""
    browser.execute_script("""
    const find = (root) => { for (const el of root.querySelectorAll("*")) {
      if (el.tagName === "BUTTON" && el.textContent.includes("Save the lasso")) return el;
      const inner = el.shadowRoot ? find(el.shadowRoot) : null;
      if (inner) return inner; } return null; };
    find(document).click();
    """)
