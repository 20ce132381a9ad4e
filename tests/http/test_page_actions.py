"""What the page does, in a real Chromium: each action first shows what it would change and asks why,
then says what has changed, what is held, and what can be done about it."""

import contextlib
import json
import os

import pytest
from harness.browser import Page, browser as start_browser
from harness.client import Client
from harness.nginx import PROXIED, Nginx
from harness.postgres import REPOSITORY
from harness.worker import WORK, worker

PICTURES = os.path.join(REPOSITORY, "build", "page")
STATUS = {"paused": 0, "active": 1, "finished": 2, "failed": 3, "running": 4}


@pytest.fixture(scope="module")
def browser():
    with start_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(servers):
    with servers.database(history=True) as database:
        with servers.site(database=database, changes={"fcgi": {"timeout": "3s"}}) as site:
            yield site


@pytest.fixture
def page(browser, site):
    browser.resize(360, 780)
    page = Page(browser, site.client)
    yield page
    page.stays_at_home()


@pytest.fixture(autouse=True)
def four(site):
    site.database.clear()
    site.database.clear_history()
    for identity, name in enumerate(("running", "active", "paused", "failed"), 1):
        columns = {"failure_error_code": 4} if name == "failed" else {}
        site.database.add_migration(
            f"the_{name}_one", id=identity, status=STATUS[name], total_tuple_count=1000,
            table_name="public.batched_background_migrations", **columns,
        )  # fmt: skip


def states(site):
    names = {number: name for name, number in STATUS.items()}
    return {row["id"]: names[row["status"]] for row in site.database.migrations()}


def changes(browser):
    """What the dialog lists: heading and lines of each list."""
    script = "return [...document.querySelectorAll('dialog .dialog-body h3')].map(h => [h.textContent, [...h.parentElement.querySelectorAll('li')].map(l => l.innerText)])"
    return dict(browser.run(script))


def test_pause_with_a_reason(page, site, token):
    browser = page.show(token)
    browser.click(".card a", "the_running_one")
    browser.click("#one .toolbar button", "Pause")
    browser.find("dialog h2", "Pause migration 1?")
    browser.find("#reason")
    assert changes(browser) == {"Would be paused (1)": ["#1 the_running_one running → paused"]}
    assert states(site)[1] == "running", "so far it was a dry run"
    assert site.database.history() == []
    browser.find("#reason").send_keys("INC-4711 <b>disk full</b>")
    browser.screenshot(os.path.join(PICTURES, "pause.png"))
    browser.click("dialog button.primary", "Pause")
    browser.find("dialog h2", "Pause migration 1: done")
    assert changes(browser) == {"Paused (1)": ["#1 the_running_one running → paused"]}
    assert states(site)[1] == "paused"
    browser.click("dialog button", "Close")
    browser.find("#one .badge", "paused")
    text = browser.find("#one .paused-by").text
    assert "Paused by release-bot" in text and "INC-4711 <b>disk full</b>" in text
    history = browser.find("#one .entries li", "release-bot paused").text
    assert "INC-4711 <b>disk full</b>" in history and "action " in history
    assert browser.find("#one .toolbar button").text == "Resume"


def test_pause_all_then_undo(page, site, token):
    browser = page.show(token)
    browser.click("#list .toolbar button", "Pause all")
    browser.find("#reason")
    assert list(changes(browser)) == ["Would be paused (2)"]
    browser.click("dialog button.primary", "Pause 2 migrations")
    browser.find("dialog h2", "Pause all migrations: done")
    assert states(site) == {1: "paused", 2: "paused", 3: "paused", 4: "failed"}
    browser.click("dialog button", "Undo")
    browser.find("dialog h2", "Undo action")
    browser.find("#reason")
    assert changes(browser) == {"Would be resumed (2)": ["#1 the_running_one paused → active", "#2 the_active_one paused → active"]}
    browser.click("dialog button.primary", "Undo")
    browser.find("dialog h2", ": done")
    assert states(site) == {1: "active", 2: "active", 3: "paused", 4: "failed"}, "the third was not paused by that action"
    browser.click("dialog button", "Close")
    browser.gone("dialog")
    browser.find("#list .summary", "2 active")


def test_undo_of_an_action_in_the_history(page, site, token):
    site.client.post("/v1/gitlab/bbm/pause/", token)
    site.client.post("/v1/gitlab/background-migrations/1/resume/", token)
    browser = page.show(token)
    browser.click("summary", "Latest actions")
    entries = [entry.text for entry in browser.all("#list .entries li")]
    assert len(entries) == 2 and "resumed the_running_one" in entries[0] and "paused the_running_one, the_active_one" in entries[1]
    browser.click("#list .entries button", "Undo")
    browser.find("#reason")
    listed = changes(browser)
    assert listed["Would be resumed (1)"] == ["#2 the_active_one paused → active"]
    (left,) = listed["Left as they are (1)"]
    assert "the_running_one" in left and "has changed it since" in left


def test_resume_all_warns_first(page, site, token):
    browser = page.show(token)
    browser.click("#list .toolbar button", "Resume all")
    browser.find("dialog .caution", "what somebody else paused")
    browser.click("dialog button.primary", "Resume")
    browser.find("dialog h2", "done")
    assert states(site)[3] == "active"


@pytest.mark.parametrize("code, warned", [(4, False), (2, True)])
def test_restart(page, site, token, code, warned):
    site.database.execute("UPDATE batched_background_migrations SET failure_error_code = %s WHERE id = 4", (code,))
    browser = page.show(token, 4)
    browser.click("#one .toolbar button", "Restart")
    browser.find("#reason")
    assert bool(browser.all("dialog .failure", "unless the cause")) is warned
    browser.click("dialog button.primary", "Restart")
    browser.find("dialog h2", "Restart migration 4: done")
    assert states(site)[4] == "active"
    browser.click("dialog button", "Close")
    browser.find("#one .badge", "active")


def test_held_row_and_another_try(page, site, token):
    """A worker holds one of two: the page says which is paused and which not, and tries again."""
    with worker(site.database) as played:
        site.database.execute("UPDATE batched_background_migrations SET status = 1 WHERE id = 1")
        played.until(WORK)
        browser = page.show(token)
        browser.click("#list .toolbar button", "Pause all")
        browser.find("#reason", seconds=30)
        listed = changes(browser)
        assert listed["Would be paused (1)"] == ["#2 the_active_one active → paused"]
        assert listed["Held by a worker, might not be paused (1)"] == ["#1 the_running_one"]
        assert browser.find("dialog .muted", "A worker is in a run at this moment.")
        browser.find("#reason").send_keys("disk full")
        browser.click("dialog button.primary", "Pause")
        browser.find("dialog h2", "Pause all migrations: done in part", seconds=30)
        listed = changes(browser)
        assert listed["Paused (1)"] == ["#2 the_active_one active → paused"]
        assert listed["Not paused (1)"] == ["#1 the_running_one"]
        assert "up to three minutes" in browser.find("dialog .failure").text
        browser.screenshot(os.path.join(PICTURES, "held.png"))
        played.finish()
    assert states(site)[1] == "running" and states(site)[2] == "paused"
    browser.click("dialog button", "Try again")
    assert browser.find("#reason").get_attribute("value") == "disk full", "it need not be typed twice"
    browser.click("dialog button.primary", "Pause")
    browser.find("dialog h2", "Pause all migrations: done")
    assert states(site)[1] == "paused"


def test_nothing_to_do(page, site, token):
    site.database.execute("UPDATE batched_background_migrations SET status = 0 WHERE id = 1")
    browser = page.show(token, 2)
    site.database.execute("UPDATE batched_background_migrations SET status = 0 WHERE id = 2")
    browser.run("document.querySelector('#one .toolbar button').click()")
    browser.find("dialog h2", "nothing to do")
    assert [button.text for button in browser.all("dialog button")] == ["Close"]


def test_conflict(page, site, token):
    browser = page.show(token, 2)
    browser.find("#one .toolbar button", "Pause")
    site.database.execute("UPDATE batched_background_migrations SET status = 2 WHERE id = 2")
    browser.run("document.querySelector('#one .toolbar button').click()")
    browser.find("dialog h2", "Pause migration 2: not possible")
    assert "finished" in browser.find("dialog .failure").text


def test_cancel_and_escape_change_nothing(page, site, token):
    before = states(site)
    browser = page.show(token)
    for leave in (lambda: browser.click("dialog button", "Cancel"), lambda: browser.press("Escape")):
        browser.click("#list .toolbar button", "Pause all")
        browser.find("#reason")
        leave()
        browser.gone("dialog")
        assert browser.run("return document.activeElement.textContent") == "Pause all", "back where one was"
    assert states(site) == before and site.database.history() == []


def test_by_keyboard_alone(page, site, token):
    browser = page.show(token)
    browser.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Pause all').focus()")
    browser.press("Enter")
    browser.find("#reason")
    assert browser.run("return document.activeElement.id") == "dialog-title", "read from the top"
    browser.press("Tab")
    assert browser.run("return document.activeElement.id") == "reason"
    for key in ("why", "Enter"):
        browser.press(key)
    browser.find("dialog h2", "done")
    assert states(site)[1] == "paused" and site.database.history()[0]["reason"] == "why"
    browser.press("Escape")
    browser.gone("dialog")


def test_dialog_fits_a_small_screen(page, site, token):
    for number in range(60):
        site.database.add_migration(f"one_of_many_{number}_{'x' * 60}", id=100 + number, status=1)
    browser = page.browser
    browser.resize(320, 500)
    page.show(token)
    browser.click("#list .toolbar button", "Pause all")
    browser.find("#reason")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("const d = document.getElementById('dialog'); return d.scrollWidth <= d.clientWidth && d.getBoundingClientRect().height <= innerHeight")
    browser.click("dialog button", "Cancel")


def test_database_goes_away_in_between(browser, servers, site, relay, token):
    """Nothing is claimed: the page says that it does not know, and the list shows it later."""
    changes = {"database": {"port": relay.port}, "fcgi": {"timeout": "1s"}}
    with servers.service(site.database.name, changes) as service, servers.nginx(service) as client:
        page = Page(browser, client)
        page.show(token)
        browser.click("#list .toolbar button", "Pause all")
        browser.find("#reason")
        relay.close()
        browser.click("dialog button.primary", "Pause")
        browser.find("dialog h2", "Pause all migrations: not done", seconds=30)
        assert "cannot get at its database" in browser.find("dialog .failure").text
        assert "not known whether anything was changed" in browser.text()
        relay.open()
        browser.wait(lambda: "running" not in states(site).values() or _try_again(browser), seconds=40)
        page.stays_at_home()


def _try_again(browser):
    """As often as it takes until the service has its database back."""
    for selector, text in (("dialog button", "Try again"), ("dialog button.primary", "Pause")):
        for button in browser.all(selector, text)[:1]:
            with contextlib.suppress(Exception):  # the dialog has gone on meanwhile
                button.click()


def test_token_that_a_proxy_reads_with(browser, servers, site, keys):
    """The page cannot see this token's access: it learns of it from the first refusal, and hides what would fail."""
    nginx = Nginx(servers.workspace.folder(servers.unique("nginx")), site.service.address, PROXIED.replace("TOKEN", keys.token("read")))
    try:
        page = Page(browser, Client(nginx.port), "/ops/bbm/")
        page.show(None)
        browser.click("#list .toolbar button", "Pause all")
        browser.find("dialog .failure", "does not allow this")
        browser.click("dialog button", "Close")
        browser.gone("#list .toolbar button")
        page.stays_at_home()
    finally:
        nginx.stop()


def test_without_a_history(browser, servers, token):
    """No panel, no undo; everything else works."""
    with servers.site() as site:
        site.database.add_migration("alone", id=1, status=1)
        page = Page(browser, site.client)
        page.show(token)
        assert browser.all("#list summary", "Latest actions") == []
        browser.click("#list .toolbar button", "Pause all")
        browser.find("#reason")
        browser.click("dialog button.primary", "Pause")
        browser.find("dialog h2", "done")
        assert [button.text for button in browser.all("dialog button")] == ["Close"]
        browser.click("dialog button", "Close")
        browser.click(".card a")
        browser.find("#one .badge", "paused")
        assert browser.all("#one summary", "History") == []
        page.stays_at_home()


def press(browser, selector, verb, reason=""):
    """One action from its button to the closed dialog; what the dialog said at the end."""
    browser.click(selector, verb)
    browser.find("#reason").send_keys(reason)
    browser.click("dialog button.primary")
    heading = browser.find("dialog h2", ": done").text
    browser.click("dialog button", "Close")
    browser.gone("dialog")
    return heading


def test_three_in_the_morning(page, site, token):
    """All of an incident by the page alone: pause all with a reason, look at what is in flight and at the
    failed jobs of one, resume all but one, restart the failed one, wait until it is finished, undo."""
    site.database.add_jobs(4, 3, 2, max_value=1000, attempts=5)
    with worker(site.database) as played:
        browser = page.show(token)
        assert press(browser, "#list .toolbar button", "Pause all", "INC-4711") == "Pause all migrations: done"
        assert states(site) == {1: "paused", 2: "paused", 3: "paused", 4: "failed"}
        assert browser.find("#list .worker", "No worker is in a run at this moment.")
        assert len(browser.all("#list .paused-by", "INC-4711")) == 2

        browser.click(".card a", "the_failed_one")
        browser.wait(lambda: len(browser.all("#one .entries li", "5 attempts")) == 2)
        press(browser, "#one .toolbar button", "Restart")
        browser.find("#one .badge", "active")

        browser.click(".back")
        browser.click(".card a", "the_running_one")
        press(browser, "#one .toolbar button", "Resume")
        assert states(site) == {1: "active", 2: "paused", 3: "paused", 4: "active"}
        press(browser, "#one .toolbar button", "Pause")

        browser.click(".back")
        browser.find("#list .card")
        while played.run() != "finished":
            pass
        browser.find("#list .summary", "1 finished")
        assert states(site)[4] == "finished"

        browser.click("summary", "Latest actions")
        entry = browser.find("#list .entries li", "INC-4711")
        entry.find_element("css selector", "button").click()
        browser.find("#reason")
        assert list(changes(browser)) == ["Would be resumed (1)", "Left as they are (1)"]
        browser.click("dialog button.primary", "Undo")
        browser.find("dialog h2", ": done")
        assert states(site) == {1: "paused", 2: "active", 3: "paused", 4: "finished"}


def test_picture_for_the_readme(browser, servers, keys):
    """build/page/readme-*.png: fcgi/page/page.png is the two side by side, with fewer colours."""
    with servers.database(sample=True, history=True) as database, servers.site(database=database) as site:
        token = keys.token("*", sub="alice@example.com")
        for identity in (7, 12):
            site.client.post(f"/v1/gitlab/background-migrations/{identity}/resume/", token)
        for identity, reason in ((7, "INC-4711 replication lag"), (12, "after the release, ask Bob first")):
            body = json.dumps({"reason": reason}).encode()
            assert site.client.post(f"/v1/gitlab/background-migrations/{identity}/pause/", token, body=body).status == 200
        browser.resize(360, 780)
        browser.scheme("light")
        Page(browser, site.client).show(token)
        browser.screenshot(os.path.join(PICTURES, "readme-list.png"))
        browser.click("#list .toolbar button", "Pause all")
        browser.find("#reason").send_keys("INC-4711 replication lag")
        browser.run("document.activeElement.blur()")
        browser.screenshot(os.path.join(PICTURES, "readme-pause.png"))
        browser.click("dialog button", "Cancel")
