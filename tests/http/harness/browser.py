"""A real browser, headless, with a profile of its own: what it shows, logs and asks for."""

import contextlib
import json
import os
import shutil
import tempfile
import urllib.parse

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from .slowness import longer

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"

# Nothing but the page itself: no update, no sign-in, no look-up of the browser maker's hosts.
FLAGS = (
    "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
    "--disable-dev-shm-usage", "--no-proxy-server", "--mute-audio", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication,DialMediaRouteProvider",
)  # fmt: skip


class Browser:
    """One window. `find` and its like wait for what they look for."""

    def __init__(self, driver):
        self.driver = driver
        self.requests = []  # addresses, as they were asked for
        self.complaints = []  # what the console says, but for answers with an error's status

    def open(self, url):
        # Another address first: a change of the fragment alone would not load the page again.
        self.driver.get("about:blank")
        self.driver.get(url)

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name):
        """Light or dark, as the system would say."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return [element for element in self.driver.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]

    def find(self, selector, text="", seconds=15):
        """The first visible element of this selector that holds the text."""

        def found(_driver):
            with contextlib.suppress(Exception):  # it went away while it was looked at
                return next((element for element in self.all(selector) if text in element.text), None)

        wait = WebDriverWait(self.driver, longer(seconds), poll_frequency=0.05)
        return wait.until(found, f"no {selector} with {text!r}; the page reads:\n{self.text()}")

    def gone(self, selector, text="", seconds=15):
        wait = WebDriverWait(self.driver, longer(seconds), poll_frequency=0.05)
        wait.until(lambda _: not any(text in element.text for element in self.all(selector)), f"{selector} stays")

    def wait(self, condition, seconds=15):
        return WebDriverWait(self.driver, longer(seconds), poll_frequency=0.05).until(lambda _: condition())

    def click(self, selector, text="", seconds=15):
        self.find(selector, text, seconds).click()

    def text(self):
        return self.run("return document.body ? document.body.innerText : ''")

    def screenshot(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.driver.save_screenshot(path)

    def read_logs(self):
        """Takes over what the browser has logged since the last time."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        for entry in self.driver.get_log("browser"):
            # A status of 401 or 503 stands there too, but that is what the tests play.
            if entry["source"] != "network" or "net::ERR_FAILED" in entry["message"]:
                self.complaints.append(entry["message"])

    def foreign_requests(self, port):
        def is_foreign(url):
            parts = urllib.parse.urlsplit(url)
            return parts.scheme not in ("data", "about") and (parts.hostname, parts.port) != ("127.0.0.1", port)

        return [url for url in self.requests if is_foreign(url)]


@contextlib.contextmanager
def browser():
    profile = tempfile.mkdtemp(prefix="bbm-fcgi-browser-")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS + (("--no-sandbox",) if os.geteuid() == 0 else ()):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The driver is on loopback, whatever proxy the environment names.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    driver = webdriver.Chrome(service=Service(DRIVER), options=options)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
