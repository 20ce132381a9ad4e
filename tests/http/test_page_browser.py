"""The page in a real Chromium: what it shows, how it stays true, and how it asks for a token.
What it does: test_page_actions.py."""

import os
import time

import pytest
from harness.browser import Page, browser as start_browser
from harness.client import Client
from harness.mounts import apache_fcgid
from harness.nginx import PROXIED, Nginx
from harness.postgres import REPOSITORY, SERVICE_ROLE
from harness.process import wait_until
from harness.timing import longer
from harness.worker import WORK, worker

PICTURES = os.path.join(REPOSITORY, "build", "page")
HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</textarea><svg onload=alert(1)>",
    "javascript:alert(1)//&lt;&amp;",
    "\u202egnp.exe\u202c and \u2067more",
    "two\nlines\tand\x1b[31mcolour\x07",
    "x" * 3000,
    "'; DROP TABLE batched_background_migrations; --",
    "\N{ARABIC LETTER ALEF}\N{ARABIC LETTER BEH} right to left",
    "{{7*7}} ${7*7} %s %00",
)


@pytest.fixture(scope="module")
def browser():
    with start_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, site):
    browser.resize(360, 780)
    browser.scheme("light")
    page = Page(browser, site.client)
    yield page
    page.stays_at_home()


@pytest.fixture(autouse=True)
def sample(site):
    site.database.clear()
    site.database.cluster.psql(site.database.name, "-f", os.path.join(REPOSITORY, "sql", "sample.sql"))


def cards(browser, group):
    return browser.run(
        "return [...document.querySelectorAll('.group')].filter(g => g.querySelector('h2').textContent.startsWith(arguments[0]))"
        ".flatMap(g => [...g.querySelectorAll('.card h3')].map(h => h.textContent))", group
    )  # fmt: skip


def fits(browser):
    return browser.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def picture(browser, name):
    browser.screenshot(os.path.join(PICTURES, f"{name}.png"))


# What it shows


def test_list_has_unfinished_first(page, site, token):
    browser = page.show(token)
    headings = browser.run("return [...document.querySelectorAll('#list .group:not([hidden]) h2')].map(e => e.textContent)")
    assert headings[:5] == ["Running 1", "Failed 2", "Paused 4", "Active 2", "Finished 3"]
    assert cards(browser, "Running") == ["backfill_manifests_top_level_namespace_id #6"]
    card = browser.find(".card.running").text
    assert "running" in card and "left" in card and "rows/min" in card and "4 failed jobs" in card
    migration = site.client.get("/v1/gitlab/background-migrations/6/", token).json["migration"]
    shown = browser.find(".card.running .percent").text
    assert 0 <= float(migration["progress"]) - float(shown.rstrip(" %")) < 0.1
    assert browser.find("#list .summary").text == "1 running · 2 failed · 4 paused · 2 active · 3 finished"
    assert "progress is not known" in browser.find(".card.failed", "#5").text
    assert "invalid_bbm_column" in browser.find(".card.failed", "#5").text
    assert browser.all(".card.finished") == [], "folded"
    browser.click("summary", "Finished")
    browser.find(".card.finished", "#1")
    assert browser.driver.title == "2 failed · Background migrations"


def test_search(page, token):
    browser = page.show(token)
    browser.find("input[type=search]").send_keys("gc_blob")
    browser.gone(".card", "#6")
    assert [card.text.split(" ")[0] for card in browser.all(".card h3")] == ["backfill_gc_blob_review_queue_event"]
    browser.find("input[type=search]").send_keys("x")
    browser.find("#list .muted", "None of them matches.")


def test_empty_database(page, site, token):
    site.database.clear()
    page.show(token).find("#list .muted", "There are no background migrations in this database.")


def test_one_migration(page, site, token):
    site.database.execute("UPDATE batched_background_migrations SET max_value = 9223372036854775806 WHERE id = 4")
    browser = page.show(token)
    browser.click(".card a", "copy_layers")
    browser.find("#one h2", "copy_layers_size_to_size_bytes #4")
    fields = browser.find("dl.fields").text
    for text in ("public.layers", "size_bytes", "layersSizeBytesCopy", "1 to 9,223,372,036,854,775,806", "1,696,420"):
        assert text in fields, text
    assert "max_job_retry (4)" in browser.find("#one .failure").text
    jobs = [entry.text for entry in browser.all(".entries li")]
    assert len(jobs) == site.database.count_jobs(4, 3) == 3
    assert "5 attempts" in "".join(jobs) and "values" in jobs[0]
    assert browser.run("return document.activeElement.id") == "one-title"
    picture(browser, "one-light")
    browser.driver.back()
    browser.find("#list .card")
    assert browser.run("return document.activeElement.getAttribute('href')") == "#4", "back where one was"


def test_failed_jobs_by_pages(page, site, token):
    identity = site.database.add_migration("many", status=3, failure_error_code=4)
    site.database.add_jobs(identity, 3, 45)
    browser = page.show(token, identity)
    browser.wait(lambda: len(browser.all(".entries li")) == 20)
    browser.click("#one button", "Show more")
    browser.wait(lambda: len(browser.all(".entries li")) == 40)
    browser.click("#one button", "Show more")
    browser.wait(lambda: len(browser.all(".entries li")) == 45)
    browser.gone("#one button", "Show more")


def test_answer_that_cannot_be_shown(page, token):
    """As after an upgrade, when the page is an older one than the service."""
    browser = page.show(token)
    browser.run("window.fetched = window.fetch; window.fetch = async () => new Response('{\"migrations\": 7}')")
    browser.click("#refresh")
    browser.find("#banner", "cannot show the service")
    browser.run("window.fetch = window.fetched")
    browser.click("#refresh")
    browser.gone("#banner")
    browser.read_logs()
    assert [line for line in browser.complaints if "TypeError" in line]
    browser.complaints.clear()


def test_odd_fragments_change_nothing(page, token):
    browser = page.open(token)
    browser.find(".card")
    for fragment in ('"]', "-1", "07", "7x", "token=", "<b>"):
        browser.run("location.hash = arguments[0]", fragment)
        browser.find("#list .card")
    browser.run("location.hash = '7'")
    browser.find("#one-title", "#7")


def test_one_that_is_not_there(page, token):
    browser = page.open(token)
    browser.find(".card")
    for identity in ("4711", "99999999999999999999"):
        browser.run("location.hash = arguments[0]", identity)
        browser.find("#one-title", f"There is no migration {identity}")
    browser.click(".back")
    browser.find(".card")


@pytest.mark.parametrize("informed", [False, True], ids=["", "a role that may see since when"])
def test_worker_in_a_run(browser, servers, site, token, informed):
    """Whether there is one, and that it has ended; where the role allows it, of which migration and since when."""
    site.database.clear()
    changes = {}
    if informed:
        role = servers.unique("monitor")
        site.database.execute(f"CREATE ROLE {role} LOGIN; GRANT pg_read_all_stats, {SERVICE_ROLE} TO {role}")
        changes = {"database": {"user": role}}
    with servers.service(site.database.name, changes) as service, servers.nginx(service) as client:
        watch_a_run(Page(browser, client), site, token, informed)


def watch_a_run(page, site, token, informed):
    columns = {"table_name": "public.batched_background_migrations", "column_name": "id", "max_value": 1000}
    identity = site.database.add_migration("worked_at", status=1, **columns)
    browser = page.show(token)
    browser.find("#list .worker", "No worker is in a run at this moment.")
    with worker(site.database) as played:
        played.until(WORK)
        browser.find("#list .worker.busy", f"A worker is in a run of migration {identity}." if informed else "A worker is in a run.")
        assert bool(browser.all(".card .facts", "worker in a run since")) is informed
        browser.click(".card a")
        browser.find("#one .worker.busy", "A worker is in a run of this migration." if informed else "A worker is in a run.")
        played.finish()
    browser.find("#one .worker", "No worker is in a run at this moment.")
    assert browser.all("#one .worker.busy") == []
    page.stays_at_home()


# How it stays true


def test_refresh_by_entity_tag(page, site, token):
    browser = page.show(token)
    browser.read_logs()
    statuses = []

    def answered(status):
        statuses.extend(browser.statuses("/background-migrations/"))
        return status in statuses

    browser.wait(lambda: answered(304))
    site.database.execute("UPDATE batched_background_migrations SET status = 0 WHERE id = 6")
    browser.find(".card.paused", "#6")
    assert answered(200)
    assert "Migration 6 is now paused." in browser.run("return document.getElementById('said').textContent")
    assert cards(browser, "Running") == []


def test_age_is_shown_and_the_hidden_page_is_quiet(page, token):
    browser = page.show(token)
    browser.find("#age", "Checked ")
    browser.find("#age", "s ago")
    browser.hide(True)
    browser.statuses("/background-migrations/")
    # Not a proof by waiting: three rounds of the clock on the page, in which it would have asked.
    browser.wait(lambda: browser.read("#age").split(" ")[1] in ("8", "9", "10", "11"))
    assert browser.statuses("/background-migrations/") == []
    browser.hide(False)
    browser.find("#age", "Checked just now")


def test_database_away_and_back(browser, servers, site, relay, token):
    """What is on the page stays there, with its age; nothing says that it is right."""
    changes = {"database": {"port": relay.port}, "fcgi": {"timeout": "1s"}}
    with servers.service(site.database.name, changes) as service, servers.nginx(service) as client:
        page = Page(browser, client)
        browser = page.show(token)
        assert browser.all("#banner") == []
        relay.close()
        browser.click("#refresh")
        browser.find("#banner", "cannot get at its database")
        assert browser.run("return document.getElementById('banner').getAttribute('role')") == "alert"
        assert browser.all(".card"), "what was known is still there"
        picture(browser, "database-away")
        browser.find("#age.old", "s ago", seconds=40)
        relay.open()
        browser.wait(lambda: browser.all("#banner") == [] or browser.click("#refresh"))
        browser.find("#age", "Checked")
        page.stays_at_home()


def test_service_away(browser, servers, site, token):
    with servers.service(site.database.name) as service, servers.nginx(service) as client:
        page = Page(browser, client)
        page.show(token)
        service.stop()
        browser.click("#refresh")
        browser.find("#banner", "not the service behind it (status 502)")
        assert browser.all(".card")
        page.stays_at_home()
    browser.click("#refresh")
    browser.find("#banner", "no connection to the web server")


# Hostile text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_in_the_database_is_text(page, site, token, name):
    site.database.clear()
    columns = {"table_name": name[:500], "column_name": name[:500], "job_signature_name": name[:500], "batching_strategy": name}
    identity = site.database.add_migration(name, status=3, failure_error_code=2, **columns)
    browser = page.show(token)
    elements = "return [document.scripts.length, document.images.length, document.querySelectorAll('svg, iframe').length, document.title]"
    assert browser.run(elements) == [1, 0, 0, "1 failed · Background migrations"]
    shown = browser.run("return document.querySelector('.card bdi').textContent")
    assert fits(browser)
    browser.click(".card a")
    browser.find("#one-title")
    assert fits(browser)
    assert browser.run(elements)[:3] == [1, 0, 0]
    if name.isprintable():
        assert shown == name
    else:
        assert not set(shown) & set("\u202e\u2067\n\x1b\x07"), "what cannot be seen is shown by its number"
        assert "\u27e8U+" in shown
    assert browser.run("return document.querySelector('#one bdi').dir") == "auto", identity


# The token


def test_token_is_asked_for_and_pasted(page, token):
    browser = page.open()
    browser.find("#sign-in h2", "A token is needed")
    assert browser.run("return document.activeElement.id") == "token"
    picture(browser, "token")
    assert fits(browser)
    browser.find("#token").send_keys("two words")
    browser.click("#sign-in button")
    browser.find("#sign-in-why", "That is no token")
    browser.find("#token").send_keys(f"Bearer {token}")
    browser.click("#sign-in button")
    browser.find(".card")
    assert browser.run("return document.getElementById('token').value") == ""
    assert "release-bot, may read and write" in browser.find("#token-line").text


def test_token_in_the_address_is_wiped_at_once(page, token):
    browser = page.open(token)
    browser.find(".card")
    assert browser.driver.current_url == page.url
    assert browser.run("return document.cookie + JSON.stringify(localStorage)") == "{}"
    assert token not in browser.run("return document.documentElement.outerHTML")
    # In this tab it is known, after a reload too; a new link in the same tab takes its place.
    browser.driver.refresh()
    browser.find(".card")
    browser.run("location.hash = '#token=' + arguments[0]", "no.such.token")
    browser.find("#sign-in-why", "refuses this token")
    assert browser.driver.current_url == page.url


def test_token_never_goes_to_the_server_in_an_address(page, token):
    page.show(token)
    page.browser.read_logs()
    assert not [url for url in page.browser.requests if token[-40:] in url.split("#")[0]]


def test_forget_the_token(page, token):
    browser = page.show(token)
    browser.click("#forget")
    browser.find("#sign-in h2", "A token is needed")
    assert browser.run("return sessionStorage.length") == 0
    assert browser.all(".card") == [] and "backfill" not in browser.run("return document.body.textContent")


def test_token_refused(page, keys):
    browser = page.open(keys.token("*", iss="other"))
    browser.find("#sign-in-why", "The service refuses this token.")
    browser = page.open(keys.token("write"))
    browser.find("#sign-in-why", "does not allow reading")


def test_token_runs_out(page, keys):
    """Its own time is over while the page is open: the data goes, and the page says why."""
    browser = page.show(keys.token("*", exp=int(time.time() - 60 + longer(10))))
    assert "has run out" in browser.find("#token-line").text, "within the tolerance of a minute"
    browser.find("#sign-in-why", "The token has run out.", seconds=40)
    assert browser.all(".card") == []


def test_token_that_may_only_read(page, keys):
    browser = page.show(keys.token("read"))
    assert "may only read" in browser.find("#token-line").text
    assert browser.all("#list .toolbar button") == []
    browser.click(".card a", "copy_layers")
    browser.find("#one h2")
    assert browser.all("#one .toolbar button") == []


def test_proxy_that_adds_the_token_under_a_path_of_its_own(browser, servers, site, token):
    """A mount that takes its own name off and the base on: the page's addresses are relative."""
    nginx = Nginx(servers.workspace.folder(servers.unique("nginx")), site.service.address, PROXIED.replace("TOKEN", token))
    try:
        for path in ("/ops/bbm/", "/ops/bbm"):
            page = Page(browser, Client(nginx.port), path)
            page.show(None)
            assert browser.all("#sign-in, #token-line") == []
            assert browser.find("#list .toolbar button", "Pause all")
            page.stays_at_home()
    finally:
        nginx.stop()


def test_through_a_mount_that_strips_the_base(browser, servers, site, token):
    with apache_fcgid(servers, site.database) as mounted:
        for path in ("/gitlab/v1/bbm/", "/v1/gitlab/bbm"):
            page = Page(browser, mounted.client, path)
            page.show(token)
            browser.click(".card a", "copy_layers")
            browser.find(".entries li", "Job")
            page.stays_at_home()


# Screens, keys, readers


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_screens(page, token, width, scheme):
    browser = page.browser
    browser.resize(width, 800)
    browser.scheme(scheme)
    page.show(token)
    browser.click("summary", "Finished")
    assert fits(browser), browser.run(WIDEST)
    assert browser.run(CONTRAST) == []
    browser.run("scrollTo(0, 0)")
    picture(browser, f"list-{scheme}-{width}")
    browser.run("location.hash = '#4'")
    browser.find(".entries li")
    assert fits(browser), browser.run(WIDEST)
    assert browser.run(CONTRAST) == []
    picture(browser, f"one-{scheme}-{width}")


# What stands out at the right.
WIDEST = """
return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 200))
"""
# WCAG 2.1, 1.4.3: texts whose contrast with what lies behind them is below 4.5.
CONTRAST = """
function rgba(text) { return text.match(/[\\d.]+/g).map(Number); }
function light([r, g, b]) {
  const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}
function behind(element) {
  for (let e = element; e; e = e.parentElement) {
    const color = rgba(getComputedStyle(e).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
}
const low = [];
for (const e of document.querySelectorAll('body *')) {
  const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!text || !e.checkVisibility() || e.disabled || e.closest('.unseen, noscript')) continue;
  const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) low.push([e.textContent.slice(0, 40), contrast]);
}
return low;
"""
# What a screen reader would have no name for.
NAMELESS = """
return [...document.querySelectorAll('button, a, input, textarea, progress, summary, section, dialog')].filter((e) => e.checkVisibility())
  .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length) || e.getAttribute('aria-labelledby')))
  .map((e) => e.outerHTML.slice(0, 100))
"""


def test_screen_reader_finds_its_way(page, token):
    browser = page.show(token)
    assert browser.run(NAMELESS) == []
    assert browser.run("return document.documentElement.lang") == "en"
    levels = browser.run("return [...document.querySelectorAll('h1, h2, h3')].filter(e => e.checkVisibility()).map(e => +e.tagName[1])")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    for region in ("main", "header", "[role=status]", "[role=alert]"):
        assert browser.run("return document.querySelectorAll(arguments[0]).length", region) == 1, region


def test_by_keyboard(page, token):
    browser = page.show(token)
    for _ in range(40):
        browser.press("Tab")
        if browser.run("return document.activeElement.getAttribute('href')") == "#6":
            break
    outline = browser.run("return getComputedStyle(document.activeElement, '::after').outlineStyle")
    assert outline == "solid", "one sees where one is"
    browser.press("Enter")
    browser.find("#one-title", "#6")
    browser.press("Tab")
    assert browser.run("return document.activeElement.textContent") == "Pause"


def test_focus_is_kept_when_the_list_changes(page, site, token):
    browser = page.show(token)
    browser.run("document.querySelector('a[href=\"#7\"]').focus()")
    site.database.execute("UPDATE batched_background_migrations SET batch_size = batch_size * 2 WHERE id = 7")
    before = browser.read(".card.paused .percent")
    browser.wait(lambda: browser.read(".card.paused .percent") != before)
    assert browser.run("return document.activeElement.getAttribute('href')") == "#7"


def test_two_hundred_migrations(page, site, token):
    for number in range(200):
        site.database.add_migration(f"one_of_many_{number}", status=1)
    browser = page.show(token)
    browser.find(".summary", "202 active")
    assert wait_until(lambda: fits(browser))
