"""The operators' page in a real browser: what is seen, found, granted, revoked and resumed; what an attacker gets."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from hsm_verifier.ledger import desk
from hsm_verifier.ledger.fleet import Fleet
from lab.fleet import HOSTILE, HOSTILE_NAME, NOW
from lab.operators import Operators
from lab.pictures import set_view
from tests.browser.conftest import Site

WIDTHS = (360, 680, 1024, 1400)


def one(site: Site, css: str) -> WebElement:
    return site.driver.find_element(By.CSS_SELECTOR, css)


def all_of(site: Site, css: str) -> list[str]:
    """Give the texts as they are seen, in one round trip."""
    words = (
        "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText.replaceAll('\\n', ' ').trim())"
    )
    found: list[str] = site.driver.execute_script(words, css)
    return found


def rows(site: Site) -> list[str]:
    return all_of(site, "#instances tbody tr")


def press(site: Site, css: str) -> None:
    """Press what leads to another page, and wait until that page is there."""
    here = one(site, "html")
    one(site, css).click()
    wait_for(site, lambda: here.id != one(site, "html").id)


def wait_for(site: Site, condition: Callable[[], bool]) -> None:
    WebDriverWait(site.driver, 10, poll_frequency=0.05).until(lambda _driver: condition())


def slots(operators: Operators, name: str) -> list[str]:
    return [slot.state for slot in Fleet(operators.store, {}, NOW).slots_of(name)]


def confirmed(operators: Operators, place: int) -> str:
    return [slot.instance_id for slot in desk.list_slots(operators.store) if slot.state == "CONFIRMED"][place]


def audit(operators: Operators) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(operators.settings.state.audit).read_text().splitlines()]


def test_the_fleet_is_seen_at_a_glance(site: Site) -> None:
    site.go()
    assert site.driver.title == "Fleet · hsm-verifier"
    tiles = dict(zip(all_of(site, ".tile .state"), all_of(site, ".tile b"), strict=True))
    assert list(tiles) == ["FREE", "TAKEN", "CONFIRMED", "REVOKED", "REFUSED"]
    assert sum(int(tiles[state]) for state in list(tiles)[:4]) == 237
    assert all(int(count) > 0 for count in tiles.values())
    assert "release gate is halted" in all_of(site, ".notices")[0]
    assert len(site.driver.find_elements(By.CSS_SELECTOR, "svg rect.served")) > 10
    assert len(rows(site)) == 50
    assert all_of(site, ".pages span")[0] == "1–50 of 237 instances"
    groups = all_of(site, "#bundles-table tbody th")
    assert groups == ["batch", "signing", "web"]


def test_pages_lead_on_and_back(site: Site) -> None:
    site.go()
    first = rows(site)
    press(site, "a[rel=next]")
    assert all_of(site, ".pages span")[0] == "51–100 of 237 instances"
    assert not set(first) & set(rows(site))
    press(site, "a[rel=prev]")
    assert rows(site) == first


def test_search_by_keyboard_finds_by_id_name_state_and_group(site: Site) -> None:
    site.go()
    one(site, "#q").send_keys(HOSTILE[4:14])
    here = one(site, "html").id
    one(site, "#q").send_keys(Keys.ENTER)
    wait_for(site, lambda: one(site, "html").id != here)
    assert [row.split()[0] for row in rows(site)] == [HOSTILE]
    assert one(site, "#q").get_attribute("value") == HOSTILE[4:14]
    site.go()
    Select(one(site, "#state")).select_by_visible_text("REVOKED")
    Select(one(site, "#group")).select_by_visible_text("web")
    press(site, "#instances form button")
    assert rows(site)
    assert all("REVOKED" in row and "web" in row for row in rows(site))
    press(site, ".tile")
    assert all("FREE" in row for row in rows(site))


def test_a_grant_is_asked_back_and_told(site: Site) -> None:
    name = confirmed(site.operators, 0)
    site.go(f"instances/{name}")
    press(site, "a[href$='/grant']")
    assert "once more" in one(site, "h1").text
    press(site, "form a.button")
    assert Fleet(site.operators.store, {}, NOW).grants_of(name) == ()
    press(site, "a[href$='/grant']")
    Select(one(site, "#until")).select_by_visible_text("15min")
    one(site, "#reason").send_keys("disk replaced")
    press(site, "button.main")
    assert f"{name} may be served 1 more time(s) until" in one(site, "[role=status]").text
    assert "disk replaced" in "".join(all_of(site, "table"))
    line = audit(site.operators)[-1]
    assert (line["event"], line["instance"], line["why"]) == ("grant", name, "disk replaced")
    press(site, "a[href$='/withdraw']")
    assert "1 grant is open" in one(site, "form").text
    one(site, "#reason").send_keys("it was another disk")
    press(site, "button.main")
    assert "1 grant(s) of" in one(site, "[role=status]").text
    assert not site.driver.find_elements("css selector", "a[href$='/withdraw']")
    line = audit(site.operators)[-1]
    assert (line["event"], line["instance"], line["why"]) == ("grant_withdrawn", name, "it was another disk")


def test_a_form_without_a_reason_is_not_sent(site: Site) -> None:
    name = confirmed(site.operators, 1)
    site.go(f"instances/{name}/revoke")
    one(site, "button.danger").click()
    assert site.driver.execute_script("return document.querySelector('#reason').validity.valueMissing") is True
    assert slots(site.operators, name) == ["CONFIRMED"]


def test_a_revocation_is_asked_back_and_seen(site: Site) -> None:
    name = confirmed(site.operators, 2)
    site.go(f"instances/{name}")
    press(site, "a[href$='/revoke']")
    assert "cannot be undone" in one(site, "form").text
    assert slots(site.operators, name) == ["CONFIRMED"]
    one(site, "#reason").send_keys("stolen")
    press(site, "button.danger")
    assert "is revoked" in one(site, "[role=status]").text
    assert slots(site.operators, name) == ["REVOKED"]
    site.go(f"?q={name}")
    assert "REVOKED" in rows(site)[0]


def test_a_halted_gate_is_resumed_from_the_notice(site: Site) -> None:
    site.go()
    press(site, ".notice.bad a")
    one(site, "#reason").send_keys("PIN corrected on hsm1")
    press(site, "button.main")
    assert "may be tried again" in one(site, "[role=status]").text
    assert "halted" not in "".join(all_of(site, ".notices"))
    assert {gate.state for gate in desk.list_gates(site.operators.store)} == {"PROVEN", "UNPROVEN"}


@pytest.mark.parametrize(
    "path", ["", "?q=document.title", f"instances/{HOSTILE}", "decisions", f"instances/{HOSTILE}/grant"]
)
def test_a_hostile_host_name_and_error_are_text(site: Site, path: str) -> None:
    site.go(path)
    with pytest.raises(NoAlertPresentException):
        _ = site.driver.switch_to.alert
    assert "owned" not in site.driver.title
    assert not site.driver.find_elements(By.CSS_SELECTOR, "script, img[src=x], svg[onload]")
    if "grant" not in path:
        assert '\\x1b[31m"><script>document.title="owned"</script>' in one(site, "main").text
    assert HOSTILE_NAME.startswith("\x1b[31m")


def test_reading_works_without_javascript(site: Site) -> None:
    site.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        site.go()
        assert len(site.driver.find_elements(By.CSS_SELECTOR, "#instances tbody tr")) == 50
        press(site, "a[rel=next]")
        press(site, "#instances tbody a")
        assert one(site, "h1").text.startswith("i-0")
        site.go("decisions?only=refused")
        assert "already_enrolled" in one(site, "main").text
    finally:
        site.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_script_that_got_into_the_page_would_not_run(site: Site) -> None:
    site.go()
    told = site.driver.execute_async_script(
        """const done = arguments[arguments.length - 1];
        document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
        const one = document.createElement("script");
        one.textContent = "document.title = 'owned'";
        document.body.append(one);"""
    )
    assert told == "script-src-elem"
    assert site.driver.title == "Fleet · hsm-verifier"
    refused = site.driver.get_log("browser")  # type: ignore[no-untyped-call]
    assert any("Content Security Policy" in line["message"] for line in refused)


def test_a_form_on_another_site_does_nothing(site: Site, tmp_path: Path) -> None:
    name = confirmed(site.operators, 3)
    site.go(f"instances/{name}/revoke")  # a session and a ticket exist
    (tmp_path / "evil.html").write_text(
        f'<form method="post" action="{site.operators.address}instances/{name}/revoke">'
        '<input name="reason" value="forged"><input name="ticket" value="guessed"><button>win</button></form>'
    )
    site.driver.get((tmp_path / "evil.html").as_uri())
    press(site, "button")
    assert "was not given to you" in one(site, "[role=alert]").text
    assert slots(site.operators, name) == ["CONFIRMED"]


def test_a_page_cannot_be_framed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "frame.html").write_text(f'<iframe src="{site.operators.address}"></iframe>')
    site.driver.get((tmp_path / "frame.html").as_uri())
    refused = site.driver.get_log("browser")  # type: ignore[no-untyped-call]
    assert any("frame" in line["message"].lower() for line in refused)
    site.driver.switch_to.frame(0)
    assert "Instances" not in site.driver.page_source


def test_a_foreign_host_name_that_points_here_shows_nothing(site: Site) -> None:
    """DNS rebinding: `localtest.localhost` resolves to this machine in every browser (RFC 6761)."""
    port = site.operators.address.rstrip("/").rpartition(":")[2]
    site.driver.get(f"http://rebound.localhost:{port}/")
    assert "not called by that name" in site.driver.page_source
    assert "i-0" not in site.driver.page_source


def test_without_a_token_there_is_only_the_sign_in(site: Site, tokened: tuple[Operators, str]) -> None:
    operators, token = tokened
    site.driver.get(f"{operators.address}instances/{HOSTILE}")
    assert site.driver.title.startswith("Sign in")
    one(site, "#token").send_keys("wrong")
    press(site, "button.main")
    assert "No operator has this token" in one(site, "[role=alert]").text
    one(site, "#token").send_keys(token)
    press(site, "button.main")
    assert site.driver.title.startswith("Fleet")
    assert one(site, ".who").text.startswith("token alice")
    assert site.driver.execute_script("return document.cookie") == ""
    press(site, ".who button")
    site.driver.get(operators.address)
    assert site.driver.title.startswith("Sign in")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_fits_every_width(site: Site, theme: str) -> None:
    for path in ("", f"instances/{HOSTILE}", "decisions", f"instances/{HOSTILE}/grant", "gates/pin-of-web/resume"):
        site.go(path)
        for width in WIDTHS:
            set_view(site.driver, width, 900, theme)
            wide = site.driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, (path, width)


CONTRAST = """
const rgb = text => text.match(/[0-9.]+/g).map(Number);
const linear = part => part / 255 <= .04045 ? part / 255 / 12.92 : ((part / 255 + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const ground = node => {
  for (; node; node = node.parentElement) {
    const colour = rgb(getComputedStyle(node).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const bad = [];
for (const node of document.querySelectorAll("body *")) {
  if (![...node.childNodes].some(one => one.nodeType === 3 && one.data.trim()) || !node.checkVisibility()) continue;
  const [more, less] = [light(rgb(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
  if ((more + .05) / (less + .05) < 4.5) bad.push(node.className + ": " + node.textContent.trim().slice(0, 30));
}
return bad;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_wants(site: Site, theme: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1."""
    set_view(site.driver, 1400, 1000, theme)
    for path in ("", f"instances/{HOSTILE}/grant", f"instances/{HOSTILE}/revoke", "decisions"):
        site.go(path)
        assert site.driver.execute_script(CONTRAST) == []


ACCESS = """
const all = css => [...document.querySelectorAll(css)];
const ids = all("[id]").map(one => one.id);
return [
  ...all("input:not([type=hidden]):not([hidden]), select").filter(one => !one.labels.length),
  ...all("table").filter(one => !one.querySelectorAll("thead th[scope=col]").length),
  ...all("a, button").filter(one => !one.textContent.trim()),
  ...all("img").filter(one => !one.hasAttribute("alt")),
  ...all("svg").filter(one => !one.getAttribute("aria-label")),
  ...all("[aria-labelledby]").filter(one => !document.getElementById(one.getAttribute("aria-labelledby"))),
  ...all("h1").slice(1),
].map(one => one.outerHTML.slice(0, 80)).concat(ids.filter((one, at) => ids.indexOf(one) !== at));
"""


@pytest.mark.parametrize(
    "path", ["", f"instances/{HOSTILE}", f"instances/{HOSTILE}/grant", "decisions", "decisions/000000000000"]
)
def test_fields_tables_and_headings_are_named(site: Site, path: str) -> None:
    site.go(path)
    assert site.driver.execute_script(ACCESS) == []
    assert len(site.driver.find_elements(By.CSS_SELECTOR, "h1")) == 1


def test_the_keyboard_goes_to_the_content_first_and_shows_where_it_is(site: Site) -> None:
    site.go()
    one(site, "body").send_keys(Keys.TAB)
    focus: WebDriver | WebElement = site.driver.switch_to.active_element
    assert focus.text == "Skip to the content"  # type: ignore[union-attr]
    one(site, "body").send_keys(Keys.TAB, Keys.TAB)
    style = site.driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"
