"""The report's page in a real browser: from disk, with the network off."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_report import folder, record, timing

from rnnparity.cells.config import RNNConfig
from rnnparity.records.run import read as read_run
from rnnparity.report import page

AXE = Path(__file__).parents[2] / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
SECTIONS = ("failures", "timing", "numbers", "pictures", "more")


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no browser: chromium is not installed")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=BROWSER, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    run = tmp_path_factory.mktemp("page")
    long = "a-very-long-name-of-an-implementation-" * 4
    made = [record(i, name) for i in range(60) for name in ("torch-rnn", "numpy-loop", long)]
    made += [record(61, "mine", "fail", "equals the recurrence with bias_hh dropped " * 5)]
    made += [record(62, "mine", "error", "crashed"), record(63, "mine", "chaotic", "from step 3")]
    made += [record(64, "keras-rnn", "unsupported", "declares"), record(65, "flax", "absent", "-")]
    wider = timing().definition.replace(config=RNNConfig(input_size=8, hidden_size=32))
    timed = [
        timing("torch-rnn", 2e-3, 1.0),
        timing("torch-rnn again", 2e-3, 1.001, role="again"),
        timing(),
        timing(long, 4e-3, 0.5),
        timing(case="wider", definition=wider),
    ]
    folder(run, made, timed, {"timing": {"warnings": ["other work was running"]}})
    return page.write(read_run(run), run)


@contextmanager
def shown(browser, path, scheme="light", width=1280):
    """The page in a tab, with the network off; it must log no error."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    context.set_offline(True)
    tab = context.new_page()
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else 0)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    yield tab
    context.close()
    assert errors == []


@pytest.fixture(params=["light", "dark"])
def opened(request, browser, path):
    with shown(browser, path, request.param) as tab:
        yield tab


def test_charts_are_drawn(opened):
    charts = opened.locator("[data-chart]")
    assert charts.count() == 8
    for i in range(charts.count()):
        assert charts.nth(i).locator("svg").count() == 1
        assert charts.nth(i).locator("svg path, svg line, svg circle").count() > 3
    for section in SECTIONS:
        assert opened.locator(f"section#{section} h2").count() == 1


def rows(opened):
    opened.evaluate("document.getElementById('checks').open = true")
    return opened.locator("[data-table=checks] tbody tr")


def test_sorting(opened):
    table = opened.locator("[data-table=checks]")
    rows(opened)
    header = table.locator("th", has_text="verdict")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    first = rows(opened).first.locator("td").nth(3).inner_text()
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    last = rows(opened).first.locator("td").nth(3).inner_text()
    assert (first, last) == ("absent", "unsupported")


def test_filtering(opened):
    table = opened.locator("[data-table=checks]")
    assert rows(opened).count() == 25
    table.get_by_label("verdict").select_option("fail")
    assert rows(opened).count() == 1
    assert "1 to 1 of 1 (185 without filter)" in table.locator(".count").inner_text()
    table.get_by_label("verdict").select_option("")
    table.get_by_label("search").fill("bias_hh dropped")
    assert rows(opened).count() == 1
    table.get_by_label("search").fill("nothing has this")
    assert rows(opened).count() == 0
    table.get_by_label("search").fill("")
    table.locator("button", has_text="next").click()
    assert rows(opened).count() == 25


def test_keyboard_reaches_every_control(opened):
    wanted = opened.evaluate(
        "() => { const all = [...document.querySelectorAll("
        "'a[href], button:not(:disabled), input, select, summary, [tabindex=\"0\"]')]"
        ".filter((e) => !e.closest('svg') && e.checkVisibility());"
        "all.forEach((e, i) => { e.dataset.control = i; }); return all.length; }"
    )
    reached = set()
    for _ in range(wanted + 40):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("() => document.activeElement.dataset.control ?? ''"))
    missed = {str(i) for i in range(wanted)} - reached
    named = "e => e.outerHTML.slice(0, 100)"
    assert [opened.locator(f"[data-control='{i}']").evaluate(named) for i in missed] == []


def test_no_horizontal_scroll_on_a_phone(opened):
    opened.set_viewport_size({"width": 390, "height": 844})
    opened.reload()
    opened.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    assert opened.evaluate("document.scrollingElement.scrollWidth") <= 390


def serious_violations(tab):
    if not AXE.exists():
        pytest.skip(f"no axe-core: npm install --prefix {AXE.parents[2]} axe-core")
    tab.add_script_tag(path=str(AXE))
    found = tab.evaluate("async () => (await axe.run()).violations")
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [n["target"] for n in one["nodes"]][:3]) for one in serious]


def test_no_serious_violation_of_accessibility(opened):
    assert serious_violations(opened) == []


def test_choosing_a_size_changes_the_lines(opened):
    chart = opened.locator("#chart-steps")
    before = chart.locator("svg").inner_html()
    assert chart.get_by_label("B,I,H").locator("option").all_inner_texts() == ["4,8,16", "4,8,32"]
    chart.get_by_label("B,I,H").select_option("4,8,32")
    assert chart.locator("svg").inner_html() != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_several_runs_side_by_side(browser, tmp_path, scheme):
    runs = [
        folder(tmp_path / name, [record(0)], [timing(ratio=ratio)])
        for name, ratio in (("a", 2.0), ("b<script>", 1.0))
    ]
    path = page.write_trend([read_run(run) for run in runs], tmp_path)
    with shown(browser, path, scheme, width=390) as tab:
        assert tab.locator("[data-chart] svg").count() == 2
        assert "speed-up over the baseline 2.00 became 1.00" in tab.locator("li").inner_text()
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= 390
        assert serious_violations(tab) == []


def test_a_link_leads_to_a_filtered_view(opened):
    """And what is filtered by hand is in the address, to be linked to."""
    opened.locator("#failures tbody tr", has_text="mine").locator("a").click()
    assert rows(opened).count() == 1
    assert rows(opened).first.locator("td").nth(3).inner_text() == "error"
    opened.get_by_label("verdict").select_option("")
    assert opened.url.endswith("#checks?implementation=mine")
    opened.reload()
    assert opened.locator("[data-table=checks] tbody tr").count() == 3
    assert opened.locator("#checks").get_attribute("open") is not None


@pytest.mark.parametrize("width", [390, 1400])
def test_the_first_column_stays(opened, width):
    opened.set_viewport_size({"width": width, "height": 844})
    moved = opened.evaluate(
        """() => [...document.querySelectorAll('#timing .scroll, #numbers .scroll')].map((e) => {
             e.scrollLeft = 1e4;
             const first = e.querySelector('tbody th').getBoundingClientRect();
             return [e.scrollLeft, first.left - e.getBoundingClientRect().left];
        })"""
    )
    assert all(abs(left) < 1 for _, left in moved)
    widths = "() => [...document.querySelectorAll('.first tbody th')].map((e) => e.offsetWidth)"
    assert min(one for one in opened.evaluate(widths) if one) >= 80  # not a letter a line
    if width == 390:
        assert any(scrolled > 0 for scrolled, _ in moved)


def test_what_needs_no_javascript(browser, path):
    """The answers, the tables, the failures with their commands, and pictures in both schemes."""
    context = browser.new_context(java_script_enabled=False, color_scheme="dark")
    tab = context.new_page()
    tab.goto(path.as_uri())
    text = tab.locator("main").inner_text()
    for said in ("Who is right?", "Who is fastest?", "trusted?", "speed-up over torch.nn.RNN"):
        assert said in text
    assert tab.locator("#numbers tbody tr").count() >= 3
    tab.locator("#failures summary").click()
    assert "1 error crashed" in tab.locator("#failures").inner_text()
    assert "need JavaScript" in text
    pictures = tab.locator("figure .chart > svg")
    assert pictures.count() == 8
    colour = "e => getComputedStyle(e).fill"
    ink = pictures.first.locator("text").first.evaluate(colour)
    assert ink == "rgb(232, 234, 237)"  # --ink on a dark ground
    context.close()


def test_a_run_of_forty_wrong_ones_is_three_screens_long(browser, tmp_path):
    made = [record(0, "torch-rnn"), record(1, "torch-rnn")]
    reason = "equals the recurrence with weight_hh transposed (within 0.9 units); "
    reason += "output[0, 2, 7] is 0.6, the truth is -0.1: off by 8e+06 units; 10 are allowed"
    names = [f"implementation-number-{i}" for i in range(40)]
    made += [record(i, name, "fail", reason) for name in names for i in range(3)]
    path = page.write(read_run(folder(tmp_path / "run", made)), tmp_path)
    with shown(browser, path, width=1400) as tab:
        assert tab.evaluate("document.scrollingElement.scrollHeight") <= 3 * 900
        text = tab.locator("#failures").inner_text()
        assert [name for name in names if name not in text] == []
        assert text.count("3 of 3") >= 40
        assert serious_violations(tab) == []


def test_prints(opened):
    opened.emulate_media(media="print")
    assert opened.locator("nav").is_hidden()
    assert opened.locator(".controls").first.is_hidden()
