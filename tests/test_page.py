"""The report's page in a real browser: from disk, with the network off."""

import shutil
from pathlib import Path

import pytest
from test_report import folder, record, timing

from rnnparity.report import page, source

AXE = Path(__file__).parent.parent / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
SECTIONS = ("matrix", "failures", "numbers", "timing", "checks", "environment")


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
    timed = [
        timing("torch-rnn", 2e-3, 1.0),
        timing("torch-rnn again", 2e-3, 1.001, role="again"),
        timing(),
        timing(long, 4e-3, 0.5),
    ]
    folder(run, made, timed, {"timing": {"warnings": ["other work was running"]}})
    return page.write(source.read(run), run)


@pytest.fixture(params=["light", "dark"])
def opened(request, browser, path):
    context = browser.new_context(
        color_scheme=request.param, viewport={"width": 1280, "height": 900}
    )
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


def test_charts_are_drawn(opened):
    charts = opened.locator("[data-chart]")
    assert charts.count() == 7
    for i in range(charts.count()):
        assert charts.nth(i).locator("svg").count() == 1
        assert charts.nth(i).locator("svg path, svg line, svg circle").count() > 3
    for section in SECTIONS:
        assert opened.locator(f"section#{section} h2").count() == 1


def rows(opened):
    return opened.locator("[data-table=checks] tbody tr")


def test_sorting(opened):
    table = opened.locator("[data-table=checks]")
    header = table.locator("th", has_text="verdict")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    first = rows(opened).first.locator("td").nth(4).inner_text()
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    last = rows(opened).first.locator("td").nth(4).inner_text()
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


def test_no_serious_violation_of_accessibility(opened):
    if not AXE.exists():
        pytest.skip(f"no axe-core: npm install --prefix {AXE.parents[2]} axe-core")
    opened.add_script_tag(path=str(AXE))
    found = opened.evaluate("async () => (await axe.run()).violations")
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [n["target"] for n in one["nodes"]][:3]) for one in serious] == []


def test_prints(opened):
    opened.emulate_media(media="print")
    assert opened.locator("nav").is_hidden()
    assert opened.locator(".controls").first.is_hidden()
