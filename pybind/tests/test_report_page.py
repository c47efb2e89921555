# SPDX-License-Identifier: Apache-2.0
"""Holds:   the page draws itself offline: lanes, search, zoom, graphs, tables, by keys alone too,
         in light and dark, with or without the browser's own inflater.
Method:  reports of made-up runs in a headless Chromium.
"""
import zlib

import pytest

from blockstep import report
from browser import Browser
from report_samples import mirror_run
from test_report import HOSTILE, hostile_run


@pytest.fixture(scope="module", name="browser")
def one_browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module", name="page")
def one_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report.write(folder, mirror_run(3000))
    return folder / "report.html"


@pytest.fixture(autouse=True)
def no_complaints(browser):
    """No script fails, and the page asks for nothing but itself."""
    browser.errors.clear()
    browser.requests.clear()
    yield
    assert browser.errors == []
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "about"}
    assert {url.split("/")[-1].split("#")[0] for url in browser.requests
            if url.startswith("file:")} <= {"report.html"}


def view(browser) -> tuple[float, float]:
    return tuple(browser.evaluate(
        '(() => { const { from, to } = document.getElementById("timeline").dataset;'
        " return [Number(from), Number(to)]; })()"))


def settle(browser) -> None:
    browser.evaluate("new Promise(done => requestAnimationFrame(() => "
                     "requestAnimationFrame(done)))")


def inked(browser) -> int:
    """How many different colours the lanes show."""
    return browser.evaluate("""(() => {
        const canvas = document.getElementById("canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(data.buffer)).size;
    })()""")


def test_lanes(browser, page):
    browser.open(page)
    groups = browser.texts("#names .group")
    assert groups == ["Scenario", "QMP", "Jobs", "Devices", "Nodes", "Thread main loop",
                      "Thread iothread0"]
    names = browser.texts("#names .name")
    assert {"notes", "faults", "commands", "events", "graph", "m0", "d0", "disk", "copy-file",
            "#block1", "fibers 1"} <= set(names)
    assert inked(browser) > 20
    assert browser.text("#outcome") == "passed"
    assert "0123456789abcdef" in browser.text("#facts")


def test_search_finds_an_event_and_says_what_it_is(browser, page):
    browser.open(page, "#find=power+cut")
    assert browser.text("#matches") == "1 of 1"
    assert browser.text("#details h3") == "power cut: 3 of 17 unflushed writes survive"

    recording = mirror_run(3000)
    names, trace = recording.trace.names, recording.trace
    writes = [i for i in range(len(trace)) if names[trace.label[i]] == "write zeroes"
              and names[trace.subject[i]] == "copy-file"]
    browser.open(page, "#find=write+zeroes+in:copy-file&n=3")
    assert browser.text("#matches") == f"3 of {len(writes)}"
    details = browser.text("#details")
    assert f"a{trace.a[writes[2]]}b{trace.b[writes[2]]}" in details
    assert f"({trace.at_ns[writes[2]]} ns)" in details

    browser.open(page, f"#find=a:{trace.a[writes[7]]}+fiber:{trace.fiber[writes[7]]}")
    assert browser.text("#matches").startswith("1 of ")
    browser.open(page, "#find=nowhere+to+be+found")
    assert browser.text("#matches") == "nothing found"


def test_search_while_typing(browser, page):
    browser.open(page)
    browser.press("/", *"pivot", "Enter")
    assert browser.text("#matches") == "nothing found"
    browser.press("Escape", "/")
    browser.evaluate("document.getElementById('find').value = ''")
    browser.press(*"unflushed", "Enter")
    assert browser.text("#matches") == "1 of 1"


def test_zoom_and_move_by_keys(browser, page):
    browser.open(page)
    whole = view(browser)
    assert whole == (0, mirror_run(3000).simulated_ns)
    browser.evaluate("document.getElementById('timeline').focus()")
    browser.press("+", "+")
    settle(browser)
    near = view(browser)
    assert near[1] - near[0] == pytest.approx((whole[1] - whole[0]) * 0.36)
    browser.press("ArrowRight")
    settle(browser)
    assert view(browser)[0] == pytest.approx(near[0] + (near[1] - near[0]) * 0.15)
    assert "view=" in browser.evaluate("location.hash")
    browser.press("0")
    settle(browser)
    assert view(browser) == whole
    assert "view=" not in browser.evaluate("location.hash")


def test_address_leads_to_a_view(browser, page):
    browser.open(page, "#view=1000-5000")
    assert view(browser) == (1000, 5000)
    browser.open(page, "#axis=order&view=100-200")
    assert view(browser) == (100, 200)
    assert browser.evaluate("document.getElementById('axis').value") == "order"


def test_lane_and_its_events_by_keys(browser, page):
    browser.open(page)
    browser.evaluate("document.getElementById('timeline').focus()")
    lanes = browser.texts("#names .name")
    for _ in range(lanes.index("notes") + 1):
        browser.press("ArrowDown")
    browser.press(".")
    assert browser.text("#names .current .name") == "notes"
    assert browser.text("#details h3") == "a second writer is refused"
    browser.press(".")
    assert browser.text("#details h3") == "the guest runs on the copy"
    browser.press(",")
    assert browser.text("#details h3") == "a second writer is refused"


def test_click_selects(browser, page):
    browser.open(page)
    x, y = browser.evaluate("""(() => {
        const box = document.getElementById("canvas").getBoundingClientRect();
        const lane = [...document.querySelectorAll("#names .name")]
            .find(one => one.textContent === "m0").getBoundingClientRect();
        return [box.left + box.width * 0.3, lane.top + 8];
    })()""")
    browser.click(x, y)
    assert browser.text("#names .current .name") == "m0"


@pytest.mark.parametrize("with_graphviz", [True, False])
def test_graph_before_and_after(browser, tmp_path, monkeypatch, with_graphviz):
    if not with_graphviz:
        monkeypatch.setenv("PATH", "/nowhere")
    report.write(tmp_path, mirror_run(300))
    browser.open(tmp_path / "report.html", "#change=5")
    assert browser.text("#change-title").startswith("5 of 6: blockdev-mirror at ")
    assert browser.texts("#before .removed title") == [
        "block device '/machine/peripheral/d0' \u2192 disk, edge 'root': CW / CU"]
    assert sorted(browser.texts("#after .added text")) == sorted([
        "root: CW / CU", "backing: CW / CWUR", "target: CW / CWUR", "main node: - / CWUR",
        "#block1", "mirror_top", "mirror job 'm0'"])
    boxes = browser.evaluate("""[...document.querySelectorAll("#after .box")].map(one => {
        const box = one.getBBox();
        return [box.x, box.y, box.width, box.height];
    })""")
    for i, (x, y, wide, high) in enumerate(boxes):
        for left, top, width, height in boxes[i + 1:]:
            assert (x + wide <= left or left + width <= x or y + high <= top or top + height <= y)


def test_refusal_is_drawn_with_its_reason(browser, page):
    browser.open(page, "#change=3")
    assert browser.text("#change-title").startswith("3 of 6: refused: device_add at ")
    assert browser.texts("#after .conflict text") == ["root: CW / CU", "root: refused W"]
    rows = browser.texts("#permissions tr.refused td")
    assert rows[1:3] == ["refused", "device_add"]
    assert rows[3].endswith(
        "block device '/machine/peripheral/d1' (edge 'root') needs write on node 'disk'; "
        "block device '/machine/peripheral/d0' (edge 'root') does not share it")
    browser.evaluate("document.querySelector('#permissions tr.allowed button').click()")
    assert browser.text("#change-title").startswith("1 of 6: blockdev-add at ")
    browser.press("]")
    assert browser.text("#change-title").startswith("2 of 6: device_add at ")


def test_tables(browser, page):
    browser.open(page)
    assert browser.text("#count-qmp") == "15"
    assert browser.texts("#faults td.data") == ["power cut: 3 of 17 unflushed writes survive"]
    assert browser.texts("#notes td.what") == ["a second writer is refused",
                                               "the guest runs on the copy"]


def test_light_and_dark(browser, page):
    def paper():
        return browser.evaluate("getComputedStyle(document.body).backgroundColor")

    browser.dark(True)
    browser.open(page)
    assert paper() == "rgb(20, 23, 28)"
    browser.dark(False)
    browser.open(page)
    assert paper() == "rgb(255, 255, 255)"
    browser.evaluate("document.getElementById('theme').click()")
    assert paper() == "rgb(20, 23, 28)"


def test_texts_can_be_read_in_both_themes(browser, page):
    contrast = """(() => {
        const luminance = colour => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(value => value / 255)
                .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const backdrop = one => {
            for (; one; one = one.parentElement) {
                const colour = getComputedStyle(one).backgroundColor;
                if (!/, 0\\)$|color/.test(colour)) return colour;
            }
            return "rgb(255, 255, 255)";
        };
        let worst = 99;
        const texts = "h1, h2, dd, dt, td, a, p, button, li, .pill";
        for (const one of document.querySelectorAll(texts)) {
            if (!one.textContent.trim() || one.className === "skip") continue;
            const [high, low] = [getComputedStyle(one).color, backdrop(one)].map(luminance)
                .sort((a, b) => b - a);
            worst = Math.min(worst, (high + 0.05) / (low + 0.05));
        }
        return worst;
    })()"""
    for theme in ("light", "dark"):
        browser.open(page, f"#theme={theme}")
        assert browser.evaluate(contrast) > 4.5


@pytest.mark.parametrize("level", [0, 1, 9])
def test_inflated_by_hand(browser, tmp_path, monkeypatch, level):
    compress = zlib.compress
    monkeypatch.setattr(zlib, "compress", lambda data, _level: compress(data, level))
    report.write(tmp_path, mirror_run(2000))
    browser.open(tmp_path / "report.html", "#inflate=by-hand&find=power+cut")
    assert (browser.text("#error"), browser.text("#matches")) == ("", "1 of 1")
    assert "copy-file" in browser.texts("#names .name")


def test_damaged_data_is_told(browser, page, tmp_path):
    text = page.read_text()
    mark = 'id="data">'
    start = text.index(mark) + len(mark)
    broken = tmp_path / "report.html"
    broken.write_text(text[:start + 40] + "AAAAAAAA" + text[start + 48:])
    browser.open(broken)
    assert browser.text("#error").startswith("This report cannot be shown")


def test_nothing_hostile_runs(browser, tmp_path):
    report.write(tmp_path, hostile_run())
    browser.open(tmp_path / "report.html", "#find=" + "%3Cscript%3E")
    assert browser.text("#outcome") == "failed"
    assert browser.evaluate("document.scripts.length") == 2
    assert browser.evaluate("document.querySelectorAll('img, iframe, object').length") == 0
    assert browser.text("#scenario") == "".join(HOSTILE)


def test_hundred_thousand_events_draw_quickly(browser, tmp_path):
    report.write(tmp_path, mirror_run(100_000))
    browser.open(tmp_path / "report.html", "#find=flush+in:disk-file&n=2")
    assert browser.text("#matches").startswith("2 of 6,")
    assert inked(browser) > 20


def test_empty_run(browser, tmp_path):
    report.write(tmp_path, report.Recording())
    browser.open(tmp_path / "report.html")
    assert browser.text("#error") == ""
    assert browser.text("#permissions") == "Nobody asked for permissions."
