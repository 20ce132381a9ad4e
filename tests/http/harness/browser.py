"""A real browser, headless, with a profile of its own: what it shows, logs and asks for."""

import contextlib
import json
import os
import shutil
import tempfile
import urllib.parse

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from .timing import longer

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"

# Nothing but the page itself: no update, no sign-in, no look-up of the browser maker's hosts.
FLAGS = (
    "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
    "--disable-dev-shm-usage", "--no-proxy-server", "--mute-audio", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication,DialMediaRouteProvider",
)  # fmt: skip


VISIBLE_FUNCTION = """(selector, text) => [...document.querySelectorAll(selector)]
    .filter((element) => element.checkVisibility() && element.innerText.includes(text))"""
VISIBLE = f"return ({VISIBLE_FUNCTION})(arguments[0], arguments[1]);"


class Browser:
    """One window. `find` and its like wait for what they look for."""

    def __init__(self, driver):
        self.driver = driver
        # The browser's own first page, which asks for much that is its own too.
        driver.get("about:blank")
        driver.get_log("performance")
        driver.get_log("browser")
        self.requests = []  # addresses, as they were asked for
        self.answers = []  # (address, status), what statuses() has not given yet
        self.complaints = []  # what the console says, but for answers with an error's status

    def open(self, url):
        # Another address first: a change of the fragment alone would not load the page again.
        self.driver.get("about:blank")
        self.driver.get(url)

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name):
        """Light or dark, as the system's setting."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector, text=""):
        """The visible elements of this selector that hold the text."""
        return self.run(VISIBLE, selector, text)

    def find(self, selector, text="", seconds=15):
        """The first visible element of this selector that holds the text."""

        def found(_driver):
            with contextlib.suppress(Exception):  # it went away while it was looked at
                return next(iter(self.all(selector, text)), None)

        wait = WebDriverWait(self.driver, longer(seconds), poll_frequency=0.05)
        try:
            return wait.until(found)
        except TimeoutException as failure:
            raise AssertionError(f"no {selector} with {text!r}; the page reads:\n{self.text()}") from failure

    def gone(self, selector, text="", seconds=15):
        wait = WebDriverWait(self.driver, longer(seconds), poll_frequency=0.05)
        wait.until(lambda _: not self.all(selector, text), f"{selector} stays")

    def wait(self, condition, seconds=15):
        return WebDriverWait(self.driver, longer(seconds), poll_frequency=0.05).until(lambda _: condition())

    def click(self, selector, text="", seconds=15):
        def clicked(_driver):
            with contextlib.suppress(StaleElementReferenceException, ElementClickInterceptedException):
                self.find(selector, text, seconds).click()
                return True

        WebDriverWait(self.driver, longer(seconds), poll_frequency=0.05).until(clicked, f"{selector} {text}: no click")

    def read(self, selector):
        """The text of the first visible element, at this moment."""
        return self.run(f"return ({VISIBLE_FUNCTION})(arguments[0], '')[0]?.innerText ?? ''", selector)

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
            elif message["method"] == "Network.responseReceived":
                response = message["params"]["response"]
                self.answers.append((response["url"], response["status"]))
        for entry in self.driver.get_log("browser"):
            # A status of 401 or 503 stands there too, but that is what the tests play.
            if entry["source"] != "network" or "net::ERR_FAILED" in entry["message"]:
                self.complaints.append(entry["message"])

    def statuses(self, end):
        """Of the answers since the last time, those to addresses with this end."""
        self.read_logs()
        answers, self.answers = self.answers, []
        return [status for url, status in answers if url.split("?")[0].endswith(end)]

    def press(self, key):
        ActionChains(self.driver).send_keys(getattr(Keys, key.upper(), key)).perform()

    def hide(self, hidden):
        """As when another tab is opened over this one, or this one comes back."""
        self.run(
            "Object.defineProperty(document, 'hidden', {configurable: true, value: arguments[0]});"
            "document.dispatchEvent(new Event('visibilitychange'))",
            hidden,
        )

    def forget(self):
        """Leaves the page of the test before, and what was logged of it."""
        self.driver.get("about:blank")
        self.read_logs()
        self.requests, self.answers, self.complaints = [], [], []

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


class Page:
    """The page of a client's server, opened in the browser."""

    def __init__(self, browser, client, path="/v1/gitlab/bbm/"):
        self.browser, self.client = browser, client
        self.url = f"http://127.0.0.1:{client.port}{path}"

    def open(self, token=None, fragment=""):
        """As a new visitor, with a token in the address where one is given."""
        self.browser.forget()
        self.browser.open(self.url.rsplit("bbm", 1)[0] + "bbm/page.css")
        self.browser.run("sessionStorage.clear()")
        self.browser.open(self.url + (f"#token={token}" if token else fragment))
        return self.browser

    def show(self, token, identity=None):
        """Opened, with the list on it, or one migration."""
        self.open(token)
        self.browser.find("#list .card, #list .muted")
        if identity is not None:
            self.browser.run("location.hash = arguments[0]", f"#{identity}")
            self.browser.find("#one-title", f"#{identity}")
        return self.browser

    def stays_at_home(self):
        """Nothing was asked of another server, nothing stands in the console."""
        self.browser.read_logs()
        assert self.browser.foreign_requests(self.client.port) == []
        assert self.browser.complaints == []
