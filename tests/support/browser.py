"""A headless Chromium that tells all that it does: what it asked of the network, and what its console said."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1360,1000", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One Chromium, driven by Selenium."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, ready: str = "return document.documentElement.dataset.ready === '1'") -> None:
        """Open a page and wait until its script has drawn all of it."""
        self.driver.get("about:blank")
        self.complaints(), self.requests()
        self.driver.get(url)
        self.wait(ready)

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Wait until a script returns true."""
        WebDriverWait(self.driver, seconds, poll_frequency=0.02).until(lambda driver: driver.execute_script(condition))

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the script returns
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Return what the console has said since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]  # type: ignore[no-untyped-call]
        sent = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def scheme(self, name: str) -> None:
        """Show pages as a machine does that is set to ``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def size(self, width: int, height: int) -> None:
        """Make the window so large, in pixels."""
        self.driver.set_window_size(width, height)

    def picture(self, path: Path) -> None:
        """Write what the window shows as WebP, a third of a PNG's size."""
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 82})
        path.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Run a Chromium with a profile of its own.

    Raises
    ------
    FileNotFoundError
        Chromium or its driver is not on this machine.
    """
    program, helper = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or helper is None:
        raise FileNotFoundError("Chromium or its driver is missing: run `make chromium`")
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(helper))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
