"""A headless browser for the tests: one for all of them, asked from threads."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from functools import cache
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

MISSING = "" if CHROMIUM and DRIVER else "chromium or chromedriver is not installed"
"""Why there is no browser; empty if there is one."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

INTERVAL = 0.05
"""Between two looks at the page, while something is waited for, seconds."""


@cache
def _start() -> Chrome:
    """Start it; it ends with this process."""
    profile = tempfile.mkdtemp(prefix="thing-browser-")
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # With the driver named, selenium looks for none elsewhere.
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(60)

    def end() -> None:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)

    atexit.register(end)
    return driver


class Browser:
    """The browser; each method blocks a thread and not the reactor, which serves the page."""

    def __init__(self, reactor: Any) -> None:
        """
        :param reactor: has the threads.
        """
        self._reactor = reactor

    def open(self, url: str) -> Deferred[None]:
        """Go to a page that nobody has seen, in a window of common size."""

        def visit(driver: Chrome) -> None:
            driver.get("about:blank")
            driver.get(url)
            driver.execute_script("sessionStorage.clear()")
            driver.get_log("browser")
            driver.get("about:blank")
            driver.get(url)

        return self._do(visit)

    def run(self, script: str, *arguments: object) -> Deferred[Any]:
        """
        Run a script in the page.

        :param script: the body of a function.
        :param arguments: its arguments.
        :return: fires with what it returns.
        """
        return self._do(lambda driver: driver.execute_script(script, *arguments))

    def press(self, *keys: str) -> Deferred[None]:
        """
        Press keys, one after the other.

        :param keys: characters, or what selenium's ``Keys`` has.
        """
        return self._do(lambda driver: ActionChains(driver).send_keys(*keys).perform())

    def emulate(
        self, width: int = 1280, height: int = 800, scheme: str = "light"
    ) -> Deferred[None]:
        """
        Be another device.

        :param width: of the window, pixels.
        :param height: of the window, pixels.
        :param scheme: ``light`` or ``dark``.
        """
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}

        def become(driver: Chrome) -> None:
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

        return self._do(become)

    def complaints(self) -> Deferred[list[str]]:
        """
        Whatever was written to the page's console since it was opened; but for the note, which
        browsers make of every 404, that a server knows of no invitations.
        """

        def read(driver: Chrome) -> list[str]:
            noted = [entry["message"] for entry in driver.get_log("browser")]
            return [note for note in noted if not re.search(r"/invitations - .* 404 ", note)]

        return self._do(read)

    async def until(self, script: str, *arguments: object, timeout: float = 60.0) -> Any:
        """
        Wait until something in the page is so.

        :param script: the body of a function that tells whether it is.
        :param arguments: its arguments.
        :param timeout: for how long, seconds.
        :return: what it returned at last.
        :raises AssertionError: if it did not become so; with the page's text.
        """
        end = self._reactor.seconds() + timeout
        while not (found := await self.run(script, *arguments)):
            if self._reactor.seconds() > end:
                text = await self.run("return document.body.innerText")
                raise AssertionError(f"it never was so: {script} {arguments}\n{text}")
            await deferLater(self._reactor, INTERVAL)
        return found

    def _do(self, work: Any) -> Deferred[Any]:
        return deferToThread(lambda: work(_start()))
