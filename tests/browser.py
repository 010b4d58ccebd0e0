"""A real browser, in which tests open pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MILLISECONDS_BEFORE_HANGING = 180_000


@dataclass(frozen=True)
class Opened:
    """An open page, and what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium or Chrome.

    Without one the test fails; where WITHOUT_BROWSER is set, as .ci/run does when it cannot
    install one, it is reported as not run.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None and os.environ.get("WITHOUT_BROWSER"):
        pytest.skip("NOT RUN: there is no Chromium and none can be installed")
    if program is None:
        pytest.fail("there is no Chromium: install one, on Debian with: apt-get install chromium")
    with sync_playwright() as playwright:
        # A container's root cannot have Chromium's sandbox; the pages are our own.
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            timeout=MILLISECONDS_BEFORE_HANGING,
        )
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = 1200, scheme: str = "light"
) -> Iterator[Opened]:
    """Open a file, in a window of some width, for a reader who prefers light or dark."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    context.set_default_timeout(MILLISECONDS_BEFORE_HANGING)
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.goto(path.as_uri())
    yield found
    context.close()
