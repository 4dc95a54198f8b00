"""Fixtures: one Chromium for the session, and the operators' page of a made-up fleet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from hsm_verifier.admin.tokens import add_token
from hsm_verifier.cli.common import open_store, open_vault
from lab.fleet import make_up
from lab.operators import Operators, at, running
from lab.pictures import CHROMEDRIVER, CHROMIUM, browser, new_folder, set_view


@pytest.fixture(scope="session")
def chromium() -> Iterator[WebDriver]:
    missing = [path for path in (CHROMIUM, CHROMEDRIVER) if not Path(path).exists()]
    assert not missing, f"{missing}: run packaging/dev/needs.sh chromium=chromium chromedriver=chromium-driver"
    with browser() as driver:
        yield driver


@dataclass
class Site:
    """One running page and a browser that has not seen it yet."""

    driver: WebDriver
    operators: Operators

    def go(self, path: str = "") -> None:
        self.driver.get(self.operators.address + path)


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operators]:
    settings = new_folder(tmp_path_factory.mktemp("vp") / "vp")
    store = open_store(settings)
    make_up(settings, store, open_vault(settings))
    store.close()
    with running(at(settings, "127.0.0.1:0")) as made:
        yield made


@pytest.fixture
def site(chromium: WebDriver, operators: Operators) -> Iterator[Site]:
    yield from _fresh(chromium, operators)


@pytest.fixture(scope="module")
def tokened(operators: Operators) -> Iterator[tuple[Operators, str]]:
    path = operators.settings.path.parent / "secrets" / "admin-tokens"
    token = add_token(path, "alice", "act")
    with running(at(operators.settings, "127.0.0.1:0", tokens=str(path))) as made:
        yield made, token


def _fresh(driver: WebDriver, operators: Operators) -> Iterator[Site]:
    """Give a browser without cookies, and see afterwards that it complained about nothing."""
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    set_view(driver, 1400, 1000, "light")
    driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's own
    yield Site(driver=driver, operators=operators)
    told = driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's own
    assert [one["message"] for one in told if "status of 4" not in one["message"]] == []
