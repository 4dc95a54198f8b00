"""Knows how to take the pictures of the operators' page that stand in docs: `python -m lab.pictures FOLDER`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from hsm_verifier.__main__ import main as hsm_verifier
from hsm_verifier.cli.common import open_store, open_vault
from hsm_verifier.settings import Settings, load_settings
from lab.fleet import HOSTILE, make_up
from lab.operators import Operators, at, running

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"  # where Debian puts them
RECORD = "drawn-from.json"  # beside the pictures: the hash of each, and of what it shows
View = tuple[str, str, int, int, str]
"""Name, path, width, height, theme."""
VIEWS: tuple[View, ...] = (
    ("fleet", "", 1400, 1000, "light"),
    ("fleet-dark", "", 1400, 1000, "dark"),
    ("fleet-narrow", "", 360, 1100, "light"),
    ("search", "?q=web-4#instances", 1400, 1000, "light"),
    ("instance", f"instances/{HOSTILE}", 1100, 720, "light"),
    ("grant", f"instances/{HOSTILE}/grant", 900, 620, "light"),
    ("decisions", "decisions", 1200, 900, "light"),
)


@contextlib.contextmanager
def browser() -> Iterator[WebDriver]:
    """Start Debian's Chromium without a window and without a word to anybody but loopback."""
    options = Options()
    options.binary_location = CHROMIUM
    # The names are the whole world: whatever else Chromium would like to ask is told that it does not exist.
    for word in (
        "--headless=new",
        "--no-sandbox",  # CI runs as root in a container; it sees our own pages only
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    try:
        driver.set_page_load_timeout(20)
        yield driver
    finally:
        driver.quit()


def set_view(driver: WebDriver, width: int, height: int, theme: str) -> None:
    """Give the window's inside its size, and the reader's choice of theme."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )


def new_folder(folder: Path) -> Settings:
    """Make a verifier's folder, quietly."""
    with contextlib.redirect_stdout(io.StringIO()):
        if hsm_verifier(["init", str(folder)]):
            raise SystemExit(1)
    return load_settings(folder / "hsm-verifier.toml")


@contextlib.contextmanager
def made_up_page() -> Iterator[Operators]:
    """Serve the page of a made-up fleet, the same at every call but for the tickets in its forms."""
    with tempfile.TemporaryDirectory() as made:
        settings = new_folder(Path(made) / "vp")
        store = open_store(settings)
        make_up(settings, store, open_vault(settings))
        store.close()
        with running(at(settings, "127.0.0.1:0"), audience="hsm-enrol:example") as operators:
            yield operators


def drawn_from(operators: Operators, view: View) -> str:
    """Give the hash of all that a picture is drawn from: the page as served, which names its style's hash; the view."""
    with urllib.request.urlopen(operators.address + view[1].partition("#")[0], timeout=20) as answer:
        page = re.sub(rb'(name="ticket" value=)"[^"]*"', rb"\1", answer.read())
    return hashlib.sha256(repr(view).encode() + page).hexdigest()


def main(target: Path) -> None:
    """Take every picture, and write down what each was drawn from."""
    target.mkdir(parents=True, exist_ok=True)
    record: dict[str, dict[str, str]] = {}
    with made_up_page() as operators, browser() as driver:
        for view in VIEWS:
            name, path, width, height, theme = view
            set_view(driver, width, height, theme)
            driver.get(operators.address + path)
            picture = target / f"{name}.png"
            driver.save_screenshot(str(picture))
            record[picture.name] = {"picture": of_file(picture), "drawn_from": drawn_from(operators, view)}
            print(picture, picture.stat().st_size)
    (target / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def of_file(path: Path) -> str:
    """Give a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
