"""The viewer's page in a real browser: clicks, keys, search, size, hostile texts; and the browser's own word for what it did.

Needs Chromium (`apt-get install chromium`), and skips without it.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

import recorded_runs as runs
from delegator.events import Noticed
from delegator.journal import Past
from delegator.sanitize import hidden
from delegator.trust import Level
from delegator.viewer import page, recorded
from requirements import requirement

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
QUESTION = "How do modern LLM agents learn to follow instructions and use tools effectively?"
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


_CHECKED = (
    *range(0x3200),
    *range(0xD7F0, 0xFFFF, 7),
    *range(0x1BC90, 0x1BCB0),
    *range(0x1D160, 0x1D180),
    *range(0xE0000, 0xE0200, 3),
    0x10FFFD,
)
HIDDEN = [
    chr(i) for i in _CHECKED if hidden(f"a{chr(i)}a") and chr(i) not in "\r\u2028\u2029\x85\x0b\x0c"
]
"""What a terminal would not be sent, because it would not show."""


@dataclass(slots=True)
class Watched:
    """A page, and everything that its browser tells of it."""

    page: Page
    file: str
    requests: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Errors, dialogs, words on the console: a good page gives rise to none."""

    def watch(self, context: BrowserContext) -> None:
        """Listen to everything."""
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("page", lambda page: self.told.append(f"opened {page.url}"))
        self.page.on("console", lambda message: self.told.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.told.append(f"error: {error}"))

        def dismissed(dialog: Dialog) -> None:
            self.told.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        self.page.on("dialog", dismissed)

    def assert_quiet(self) -> None:
        """Nothing was asked for but the page itself, and nothing went wrong."""
        assert (self.told, self.requests) == ([], [self.file])

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return self.page.locator(selector).first.inner_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages of runs of all kinds, by name. They are made before the browser starts: it keeps the event loop of this thread."""
    home = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DELEGATOR_HOME", str(home))
        good = runs.ran(home, QUESTION, model=runs.Metered())
        ids = {
            "good": (good,),
            "sealed": (good, runs.ran(home, QUESTION, offline=True, trust=Level.SEALED)),
            "attacked": (runs.attacked(home, home / "attacked"),),
            "quarantined": (runs.quarantined(home, home / "quarantined"),),
            "cancelled": (runs.cancelled(home, home / "quarantined"),),
            "hostile": (runs.hostile_run(home),),
            "long": (runs.long_run(home),),
        }
        with runs.Story(home, id="20260102-030405-hid", question="What hides?") as story:
            story.tell(0.0, "orchestrator", Noticed(text="".join(f"a{c}a " for c in HIDDEN)))
            ids["hidden"] = (story.id,)
        with runs.Story(home, id="20260102-030405-none") as story:
            ids["unfinished"] = (story.id,)
    made = {}
    for name, both in ids.items():
        file = home / f"{name}.html"
        with Past(home) as past:
            file.write_text(page([recorded(past, id) for id in both]), encoding="ascii")
        made[name] = file.as_uri()
    return made


@pytest.fixture(scope="module")
def browser(pages: dict[str, str]) -> Iterator[Browser]:  # noqa: ARG001 - first the pages
    with sync_playwright() as play:
        # the sandbox needs rights that a container does not give; nothing from outside is shown here
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, pages: dict[str, str]) -> Iterator[Any]:
    """Opens a page by its name, at a size, in light or dark."""
    contexts = []

    def open_page(name: str, size: dict[str, int] | None = None, scheme: Any = "light") -> Watched:
        context = browser.new_context(viewport=size or WIDE, color_scheme=scheme)  # type: ignore[arg-type] # two numbers
        contexts.append(context)
        watched = Watched(context.new_page(), pages[name])
        watched.watch(context)
        watched.page.goto(watched.file)
        return watched

    yield open_page
    for context in contexts:
        context.close()


def violations(shown: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    found = Axe().run(shown).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} ({one['nodes'][0]['failureSummary'][:300]})"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def press(shown: Watched, *keys: str) -> None:
    for key in keys:
        shown.page.keyboard.press(key)


@requirement("view:inert")
def test_hostile_texts_run_nothing_open_nothing_and_ask_for_nothing(opened: Any) -> None:
    shown = opened("hostile")
    for selector in (".sentence", "#tree .branch", "#timeline .bar.model", "#decisions .link"):
        shown.page.locator(selector).first.click()
    rows = shown.page.locator("#messages [role=option]")
    for _ in range(30):
        press(shown, "ArrowDown")
    for i in range(rows.count()):
        rows.nth(i).dispatch_event("click")
    for words in runs.HOSTILE:
        shown.page.fill("#search", words.encode(errors="replace").decode())
        shown.page.locator("#search").press("Enter")
    assert shown.page.evaluate("() => window.ran") is None
    assert shown.page.locator("iframe, img, svg[onload], base, object, embed, form").count() == 0
    shown.assert_quiet()


@requirement("view:inert")
def test_the_browser_itself_refuses_markup_code_and_requests(opened: Any) -> None:
    shown = opened("good")
    markup = "() => { try { document.body.innerHTML = '<b>x</b>'; return 'made' } catch (e) { return e.name } }"
    assert shown.page.evaluate(markup) == "TypeError"
    script = "() => { const s = document.createElement('script'); try { s.text = 'window.ran = 1' } catch { return 'refused' } document.body.append(s); return window.ran ?? 'refused' }"
    assert shown.page.evaluate(script) == "refused"
    fetched = "() => fetch('http://127.0.0.1:9/').then(() => 'sent', (e) => e.name)"
    assert shown.page.evaluate(fetched) == "TypeError"
    image = "() => new Promise((done) => { const i = new Image(); i.onerror = () => done('refused'); i.src = 'http://127.0.0.1:9/x.png' })"
    assert shown.page.evaluate(image) == "refused"
    assert any("Content Security Policy" in told for told in shown.told)


def test_what_does_not_show_is_shown_by_its_number(opened: Any) -> None:
    shown = opened("hostile")
    heading = shown.text("h1")
    assert "\u202e" not in heading
    assert "U+202E" in heading
    assert "U+001B" in heading
    isolated = "() => [...document.querySelectorAll('.said')].every((n) => getComputedStyle(n).unicodeBidi === 'isolate')"
    assert shown.page.evaluate(isolated)


@requirement("T8")
def test_whatever_would_not_show_is_shown(opened: Any) -> None:
    shown = opened("hidden")
    shown.page.locator("#messages [role=option]").last.click()
    said = shown.text("#inspector .said-list dd")
    assert said.split() == [f"aU+{ord(c):04X}a" for c in HIDDEN]


def test_a_click_on_a_sentence_shows_quote_source_and_the_agents_it_passed(opened: Any) -> None:
    shown = opened("good")
    shown.page.locator(".sentence").nth(1).click()
    details = shown.text("#inspector")
    assert "The quote stands in its source, letter by letter." in details
    assert "claimed by D" in details
    assert "reviewed by" in details
    assert "put into the answer by orchestrator" in details
    shown.page.locator("#inspector summary").first.click()
    quote = shown.text("#inspector .quote")
    assert " ".join(shown.text("#inspector .passage mark").split()) == quote
    shown.assert_quiet()


def test_from_a_quote_to_the_agent_to_its_messages(opened: Any) -> None:
    shown = opened("good")
    shown.page.locator(".sentence").first.click()
    shown.page.locator("#inspector .way .link").first.click()
    assert "Seen by the harness" in shown.text("#inspector")
    shown.page.get_by_role("button", name="Its messages").click()
    assert " of " in shown.text("#messages .count")


def test_search_finds_a_word_in_every_text_and_marks_it(opened: Any) -> None:
    shown = opened("attacked")
    press(shown, "/")
    shown.page.keyboard.type("nobody vouches")
    shown.page.wait_for_function(
        "() => document.querySelector('#messages .count').textContent.startsWith('1 of')"
    )
    assert shown.text("#messages mark") == "nobody vouches"
    press(shown, "Enter", "Enter")
    assert "denied: mail (P-T)" in shown.text("#inspector h2")
    assert "it has effects outside" in shown.text("#inspector")
    shown.assert_quiet()


def test_everything_is_reached_by_keyboard(opened: Any) -> None:
    shown = opened("good")
    focus = "() => document.activeElement.id"
    press(shown, "4")
    assert shown.page.evaluate(focus) == "messages-a"
    press(shown, "j", "j", "k", "Enter")
    assert shown.page.evaluate(focus) == "inspector-title"
    assert shown.text("#inspector h2").startswith("reply 1")
    press(shown, "Escape")
    assert shown.page.evaluate(focus) == "messages-a"
    press(shown, "2", "ArrowRight", "ArrowRight")
    assert shown.page.evaluate(focus) == "lanes-a"
    assert shown.text("#inspector h2") == "delegate_to_researcher"
    press(shown, "?")
    assert shown.page.locator("#help").is_visible()
    press(shown, "Escape")
    assert not shown.page.locator("#help").is_visible()
    shown.assert_quiet()


def test_the_timeline_shows_who_waited_for_whom(opened: Any) -> None:
    shown = opened("good")
    assert shown.text("#timeline .legend").startswith("Of the critical path: ")
    shown.page.locator("#timeline .bar.wait").first.click()
    assert "D1 researcher" in shown.text("#inspector")
    before = shown.page.locator("#timeline .lane .track").first.bounding_box()["width"]
    shown.page.get_by_role("button", name="Zoom in").click()
    after = shown.page.locator("#timeline .lane .track").first.bounding_box()["width"]
    assert after == pytest.approx(2 * before, rel=0.1)


def test_zoomed_in_the_names_stay_and_what_is_chosen_comes_into_sight(opened: Any) -> None:
    shown = opened("long")
    press(shown, "2", *["+"] * 6, *["PageDown"] * 12, "Enter")
    chosen = shown.page.locator("#timeline [aria-selected=true]")
    lanes = shown.page.locator("#lanes-a").bounding_box()
    name = chosen.locator(".lane-name").bounding_box()
    bar = chosen.locator(".bar.model").first.bounding_box()
    assert name["x"] == pytest.approx(lanes["x"], abs=2)
    assert lanes["x"] < bar["x"] < lanes["x"] + lanes["width"]
    assert name["y"] + name["height"] <= lanes["y"] + lanes["height"] + 1


def test_of_five_thousand_events_only_those_in_sight_are_drawn(opened: Any) -> None:
    shown = opened("long")
    events = "() => JSON.parse(document.getElementById('data').textContent).runs[0].events"
    assert shown.page.evaluate(events) >= 5_000
    rows = "() => document.querySelectorAll('[role=option]').length"
    assert shown.page.evaluate(rows) < 120
    press(shown, "4", "End")
    last = shown.page.locator("#messages [role=option]").last
    assert "answer: complete" in last.inner_text()
    assert shown.page.evaluate(rows) < 120
    shown.page.fill("#search", "found D321")
    shown.page.wait_for_function(
        "() => /^[0-9]+ of/.test(document.querySelector('#messages .count').textContent)"
    )
    assert "found D321" in shown.text("#messages [role=option]")
    shown.assert_quiet()


@pytest.mark.parametrize(
    "name", ["good", "attacked", "sealed", "hostile", "long", "unfinished", "cancelled"]
)
def test_nothing_sticks_out_at_the_width_of_a_phone(name: str, opened: Any) -> None:
    shown = opened(name, PHONE)
    wide = "() => document.documentElement.scrollWidth"
    assert shown.page.evaluate(wide) == PHONE["width"]
    shown.page.locator("#messages [role=option]").first.click()
    box = shown.page.locator("#inspector").bounding_box()
    assert box is not None
    assert (round(box["y"] + box["height"]), box["width"]) == (PHONE["height"], PHONE["width"])
    press(shown, "Escape")
    assert not shown.page.locator("#inspector").is_visible()
    assert shown.page.evaluate(wide) == PHONE["width"]
    shown.assert_quiet()


def test_light_and_dark_are_the_systems_choice_and_then_the_persons(opened: Any) -> None:
    paper = "() => getComputedStyle(document.documentElement).backgroundColor"
    light, dark = opened("good"), opened("good", scheme="dark")
    assert light.page.evaluate(paper) != dark.page.evaluate(paper)
    press(light, "t")
    assert light.page.evaluate(paper) == dark.page.evaluate(paper)


def test_two_runs_stand_side_by_side_and_each_has_its_own_details(opened: Any) -> None:
    shown = opened("sealed")
    assert shown.page.locator("#answer .side").count() == 2
    assert "trust level" in shown.text("#differences")
    left, right = (shown.page.locator("#answer .side").nth(i).bounding_box() for i in (0, 1))
    assert left["y"] == right["y"]
    assert shown.page.locator("#answer .only").count() > 0
    shown.page.locator("#answer .side").nth(1).locator(".sentence").first.click()
    assert "claimed by" in shown.text("#inspector")
    shown.assert_quiet()


def test_paper_shows_every_agent_and_every_source(opened: Any) -> None:
    shown = opened("good")
    shown.page.emulate_media(media="print")
    shown.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert shown.page.locator("#tree [role=option]").count() == 5
    assert shown.page.locator(".sources li").first.is_visible()
    assert not shown.page.locator("#bar").is_visible()
    assert shown.page.pdf().startswith(b"%PDF")
    shown.assert_quiet()


@pytest.mark.parametrize("name", ["unfinished", "cancelled", "quarantined"])
def test_a_run_without_a_good_end_says_so(name: str, opened: Any) -> None:
    shown = opened(name)
    said = {"unfinished": "did not end", "cancelled": "cancelled", "quarantined": "quarantined"}
    assert said[name] in shown.text("#main")
    shown.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["good", "attacked", "sealed", "hostile", "unfinished"])
def test_axe_finds_nothing_serious(name: str, scheme: str, opened: Any) -> None:
    shown = opened(name, scheme=scheme)
    shown.page.locator("#messages [role=option]").last.click()
    assert violations(shown.page) == []
    press(shown, "?")
    assert violations(shown.page) == []


def test_axe_finds_nothing_serious_on_a_phone(opened: Any) -> None:
    shown = opened("good", PHONE)
    assert violations(shown.page) == []
    shown.page.locator(".sentence").first.click()
    assert violations(shown.page) == []


def test_the_page_is_one_file_that_reads_the_same_wherever_it_lies(pages: dict[str, str]) -> None:
    text = Path(pages["good"].removeprefix("file://")).read_text(encoding="ascii")
    assert text.startswith("<!doctype html>")
    assert "file:" not in text
