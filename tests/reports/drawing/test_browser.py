"""The pages in a real browser: every figure drawn, nothing on the console, nothing fetched, and
whatever can be clicked, hovered, typed at or printed does what it should."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.drawing.browser import Browser, find_browser, open_browser
from reports.drawing.images import write_images
from reports.pages.comparison import write_comparison
from reports.pages.run import write_report
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run
from workloads.plan_parts import UserClass

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs chromium")

LEGEND = "[...document.querySelectorAll('#tail-ttft_s .legend .traces')]"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        write_run(
            tmp_path_factory.mktemp("run"),
            {"fastswitch": FAST, "vllm-0.3": replace(SLOW, fail_ratio=0.05, lost_ratio=0.02)},
            plan=make_plan(num_conversations=20),
            repeats=1,
            gates=("ttft.p50 <= 1.5s", "tbt.p99 <= 20s", "tbt.p50 <= 1s"),
            baseline="vllm-0.3",
        )
    )


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Browser]:
    """One browser for all: starting it and drawing the page are what takes the time."""
    with open_browser(timeout_s=240) as found:
        resize(found, 1366, 768)
        found.open(page)
        yield found


def resize(browser: Browser, width: int, height: int) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=False,
    )


def told(browser: Browser, *methods: str) -> list[dict[str, Any]]:
    browser.evaluate("0")  # whatever was said before has arrived by then
    return [each["params"] for each in browser.events if each.get("method") in methods]


def complaints(browser: Browser) -> list[dict[str, Any]]:
    return told(browser, "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")


def addresses(browser: Browser) -> set[str]:
    asked = told(browser, "Network.requestWillBeSent")
    return {each["request"]["url"].partition(":")[0] for each in asked}


def middle(browser: Browser, element: str) -> tuple[float, float]:
    """In the window, after scrolling there."""
    x, y = browser.evaluate(
        f"(() => {{ const found = {element}; found.scrollIntoView({{block: 'center'}});"
        "const box = found.getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    return x, y


def mouse(browser: Browser, kind: str, x: float, y: float) -> None:
    browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def click(browser: Browser, element: str) -> None:
    x, y = middle(browser, element)
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        mouse(browser, kind, x, y)


def press(browser: Browser, kind: str, key: str, code: int, **more: Any) -> None:
    browser.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)


def becomes(browser: Browser, script: str, within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if browser.evaluate(script):
            return True
        time.sleep(0.05)
    return False


def test_every_figure_is_drawn_with_its_data_and_nothing_is_fetched(browser: Browser) -> None:
    plots = browser.evaluate("document.querySelectorAll('.plot').length")
    assert plots > 20
    assert browser.evaluate("Number(document.documentElement.dataset.drawn)") == plots
    bare = browser.evaluate(
        "[...document.querySelectorAll('.plot')].filter(each => !each.querySelector("
        "'.point path, .js-line, .heatmaplayer image, path.point')).map(each => each.id)"
    )
    assert bare == []
    assert complaints(browser) == []
    assert addresses(browser) == {"file", "data"}


# [figure, what is wrong]: text that is cut off at its figure's edge, tick labels that lie on each
# other or under a colour bar's title, and axes with less than two labels or without a title.
ILLEGIBLE = """[...document.querySelectorAll('.plot')].flatMap(plot => {
  const found = [], box = plot.getBoundingClientRect();
  const of = (selector) => [...plot.querySelectorAll(selector)];
  for (const text of of('text')) {
    const at = text.getBoundingClientRect();
    const isInside = at.left > box.left - 1 && at.right < box.right + 1 &&
        at.top > box.top - 1 && at.bottom < box.bottom + 1;
    if (at.width && !isInside) found.push(`${text.textContent} is cut`);
  }
  for (const title of of('.cbtitle text')) {
    const at = title.getBoundingClientRect();
    const covered = of('.cbaxis text').filter(each => {
      const other = each.getBoundingClientRect();
      return at.left < other.right - 1 && other.left < at.right - 1 &&
          at.top < other.bottom - 4 && other.top < at.bottom - 4;
    });
    if (covered.length) found.push(`${title.textContent} lies on ${covered[0].textContent}`);
  }
  for (const [name, axis] of Object.entries(plot._fullLayout)) {
    if (!/^[xy]axis\\d*$/.test(name) || axis.showticklabels === false || !axis._id) continue;
    const labels = of(`.${axis._id}tick text`);
    if (labels.length < 2 && axis.type !== 'category') found.push(`${name} has no ticks`);
    const isOfNames = axis.type === 'category' || plot.id.startsWith('ratios');
    if (!axis.title.text && !isOfNames) found.push(`${name} has no title`);
    // The boxes of slanted labels overlap where the labels do not.
    const isSlanted = labels.some(each => /rotate\\((?!0)/.test(each.getAttribute('transform')));
    const ticks = isSlanted ? [] : labels.map(each => each.getBoundingClientRect());
    ticks.forEach((one, i) => ticks.slice(i + 1).forEach(other => {
      if (one.left < other.right - 1 && other.left < one.right - 1 &&
          one.top < other.bottom - 3 && other.top < one.bottom - 3) found.push(`${name} overlaps`);
    }));
  }
  return found.map(each => [plot.id, each]);
})"""

# The contrast (WCAG 2) of every element that holds text of its own, where it is less than 4.5.
PALE = """(() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const share = rgb[i] / 255;
    return sum + weight * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = rgba(getComputedStyle(each).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255];
  };
  const pale = new Set();
  for (const each of document.querySelectorAll('header *, section *:not(svg, svg *)')) {
    const hasText = [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!hasText || each.closest('.plot') || !each.checkVisibility()) continue;
    const [one, other] = [light(rgba(getComputedStyle(each).color)), light(behind(each))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) pale.add(`${each.tagName}.${each.className} ${contrast.toFixed(1)}`);
  }
  return [...pale];
})()"""


@pytest.mark.parametrize("width", [1366, 420])
def test_nothing_in_a_figure_is_cut_off_or_lies_on_something_else(
    browser: Browser, width: int
) -> None:
    resize(browser, width, 900)
    assert becomes(browser, f"{ILLEGIBLE}.length === 0"), browser.evaluate(ILLEGIBLE)
    resize(browser, 1366, 768)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_all_text_has_the_contrast_that_accessibility_asks_for(
    browser: Browser, scheme: str
) -> None:
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    assert becomes(browser, f"{PALE}.length === 0"), browser.evaluate(PALE)


def test_a_legend_entry_hides_its_line_and_shows_it_again(browser: Browser) -> None:
    is_hidden = f"Number(getComputedStyle({LEGEND}[0]).opacity) < 1"
    toggle = f"{LEGEND}[0].querySelector('.legendtoggle')"
    assert not browser.evaluate(is_hidden)
    click(browser, toggle)
    assert becomes(browser, is_hidden)
    time.sleep(0.4)  # two clicks in one moment would be a double click
    click(browser, toggle)
    assert becomes(browser, f"!({is_hidden})")


def test_hovering_shows_the_number_and_its_interval(browser: Browser) -> None:
    x, y = middle(browser, "document.querySelector('#tail-ttft_s .point')")
    mouse(browser, "mouseMoved", x + 3, y + 3)
    mouse(browser, "mouseMoved", x, y)
    assert becomes(browser, "document.querySelector('#tail-ttft_s .hoverlayer').textContent != ''")
    text = browser.evaluate("document.querySelector('#tail-ttft_s .hoverlayer').textContent")
    assert re.search(r"\d s|\d ms", text)
    assert "95 %" in text


def test_a_table_is_sorted_by_the_keyboard_alone(browser: Browser) -> None:
    keys = (
        "[...document.querySelector('.sortable').tBodies[0].rows]"
        ".map(row => Number(row.cells[3].dataset.key))"
    )
    head = "document.querySelector('.sortable th:nth-child(4) button')"
    browser.evaluate(f"{head}.focus()")
    for order, key, code in (
        (sorted, "Enter", 13),
        (lambda found: sorted(found, reverse=True), " ", 32),
    ):
        for kind in ("keyDown", "keyUp"):
            press(browser, kind, key, code, text="\r" if key == "Enter" else " ")
        found = browser.evaluate(keys)
        assert found == order(found)
        assert len(set(found)) > 1
    assert browser.evaluate(f"{head}.closest('th').getAttribute('aria-sort')") == "descending"


def test_a_question_mark_opens_its_answer_and_escape_closes_it(browser: Browser) -> None:
    click(browser, "document.querySelector('.card .help')")
    is_open = "document.querySelector('.term:popover-open') !== null"
    assert becomes(browser, is_open)
    for kind in ("keyDown", "keyUp"):
        press(browser, kind, "Escape", 27)
    assert becomes(browser, f"!({is_open})")


def test_dragging_zooms_the_timeline(browser: Browser) -> None:
    x_range = "document.getElementById('timeline-fastswitch').layout.xaxis.range"
    before = browser.evaluate(x_range)
    x, y = middle(browser, "document.querySelector('#timeline-fastswitch .nsewdrag')")
    mouse(browser, "mouseMoved", x, y)
    mouse(browser, "mousePressed", x, y)
    for step in (20, 60, 120):
        mouse(browser, "mouseMoved", x + step, y)
    mouse(browser, "mouseReleased", x + 120, y)
    assert becomes(browser, f"{x_range}[1] - {x_range}[0] < {0.8 * (before[1] - before[0])}")


@pytest.mark.parametrize(("width", "scheme"), [(420, "dark"), (1366, "light")])
def test_no_width_and_no_theme_makes_the_page_scroll_sideways(
    browser: Browser, width: int, scheme: str
) -> None:
    resize(browser, width, 900)
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    assert becomes(browser, f"document.documentElement.scrollWidth <= {width}")
    ink = browser.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')")
    painted = "document.getElementById('tail-ttft_s').layout.font.color"
    assert becomes(browser, f"{painted} === '{ink.strip()}'")


def test_on_paper_everything_is_unfolded_and_no_page_is_empty(browser: Browser) -> None:
    printed = browser.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
    pdf = base64.b64decode(printed["data"])
    pages = re.findall(rb"/Type /Page\b", pdf)
    assert 8 <= len(pages) <= 16
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert becomes(browser, "document.querySelectorAll('details:not([open])').length === 0")
    assert becomes(
        browser,
        "[...document.querySelectorAll('.plot')].every(each => "
        "each.querySelector('.main-svg').clientHeight <= each.clientHeight + 1)",
    )
    heads = (
        "[...document.querySelectorAll('.sortable th button')]"
        ".map(each => getComputedStyle(each).display)"
    )
    assert set(browser.evaluate(heads)) == {"contents"}  # a head with buttons is not repeated
    browser.call("Emulation.setEmulatedMedia", media="")
    assert becomes(browser, "document.querySelectorAll('details[open]').length === 0")
    assert complaints(browser) == []


def test_long_names_take_their_room_from_the_page_and_not_from_the_figures(
    browser: Browser, tmp_path: Path
) -> None:
    names = [f"an-engine-whose-name-says-all-its-settings-{number}" for number in range(4)]
    plan = make_plan(num_conversations=4)
    run = write_run(tmp_path / "run", dict.fromkeys(names, FAST), plan=plan, repeats=1)
    browser.open(write_report(run))
    height = "document.querySelector('#tail-tbt_s .nsewdrag').getBoundingClientRect().height"
    assert becomes(browser, f"{height} > 200")
    assert becomes(browser, f"{ILLEGIBLE}.length === 0"), browser.evaluate(ILLEGIBLE)


def test_long_class_names_do_not_lie_on_each_other_on_a_narrow_page(
    browser: Browser, tmp_path: Path
) -> None:
    names = ("interactive-premium", "standard_customers-abroad", "batch-overnight-jobs")
    names += ("internal research users", "evaluation-and-testing")
    plan = make_plan(num_conversations=10)
    slo = plan.user_classes[0].slo
    plan = replace(
        plan,
        user_classes=tuple(UserClass(name=each, share_ratio=0.2, slo=slo) for each in names),
        conversations=tuple(
            replace(each, user_class=names[index % 5])
            for index, each in enumerate(plan.conversations)
        ),
    )
    run = write_run(tmp_path / "run", {"mine": FAST}, plan=plan, repeats=1)
    resize(browser, 420, 900)
    browser.open(write_report(run))
    assert becomes(browser, f"{ILLEGIBLE}.length === 0"), browser.evaluate(ILLEGIBLE)
    resize(browser, 1366, 768)


def test_the_checks_would_see_a_request_and_an_error(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<html data-drawn=0><script src='http://127.0.0.1:9/x.js'></script><script>oops()</script>"
    )
    browser.open(bad)
    assert becomes(browser, "document.readyState === 'complete'")
    assert "http" in addresses(browser)
    assert any("oops" in str(each) for each in complaints(browser))


def test_main_figures_become_pictures(page: Path, tmp_path: Path) -> None:
    metrics = json.loads((page.parent / "metrics.json").read_text())
    small = write_comparison(comparison_of(metrics), tmp_path / "small.html", metrics["gates"])
    written = write_images(small, tmp_path / "png")
    assert [path.name for path in written] == ["ratios-fastswitch.png", "ratios-gates.png"]
    for path in written:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20], "big") == 1520  # pixels across


def comparison_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """A run's own comparison in the words of `fsbench compare --format json`."""
    return {
        "confidence_ratio": metrics["confidence_ratio"],
        "is_paired": True,
        "warnings": [],
        "sides": [
            {"label": name, "baseline": base, "plan_digest": metrics["plan_digest"]}
            for name, base in (
                (metrics["baseline"], None),
                *((name, metrics["baseline"]) for name in metrics["comparisons"]),
            )
        ],
        "comparisons": metrics["comparisons"],
    }
