"""The page's files as a client gets them: headers, entity tags, addresses, and no data in them.
What a browser makes of them: test_page_browser.py."""

import os
import re
import urllib.parse

import pytest
from harness import fastcgi, routes
from harness.mounts import apache_fcgid, apache_proxy_fcgi, caddy, haproxy, lighttpd
from harness.postgres import REPOSITORY

FOLDER = os.path.join(REPOSITORY, "fcgi", "page")
TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".json": "application/json",
}  # fmt: skip
FILES = sorted(name for name in os.listdir(FOLDER) if os.path.splitext(name)[1] in TYPES)
OTHER_MOUNTS = (apache_fcgid, apache_proxy_fcgi, caddy, haproxy, lighttpd)
POLICY = {
    "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'", "img-src": "data:",
    "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'",
    "require-trusted-types-for": "'script'", "trusted-types": "'none'",
}  # fmt: skip


@pytest.fixture(scope="module")
def site(servers):
    with servers.site() as site:
        site.database.add_migration("a name that no page may carry", id=7)
        yield site


def address(name, base=routes.ONE_BASE):
    return f"{base}/bbm/" + ("" if name == "page.html" else name)


def source(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


def referred(page):
    """The addresses that the page names."""
    found = re.findall(r'(?:href|src)="([^"]*)"', page)
    return [reference for reference in found if not reference.startswith("data:")]


def imported(script):
    return re.findall(r'from "([^"]*)";', script)


@pytest.mark.parametrize("base", routes.BASES)
@pytest.mark.parametrize("name", FILES)
def test_file_as_it_is_in_the_source_without_a_token(site, name, base):
    answer = site.client.get(address(name, base))
    assert answer.status == 200, answer
    assert answer.body == source(name)
    assert answer.header("Content-Type") == TYPES[os.path.splitext(name)[1]]
    assert answer.header("WWW-Authenticate") is None and answer.header("Set-Cookie") is None


@pytest.mark.parametrize("name", FILES)
def test_headers(site, name):
    answer = site.client.get(address(name))
    policy = dict(part.strip().split(" ", 1) for part in answer.header("Content-Security-Policy").split(";"))
    assert policy == POLICY
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Referrer-Policy") == "no-referrer"
    assert answer.header("Cache-Control") == "no-cache"
    assert answer.header("Cross-Origin-Opener-Policy") == "same-origin"


@pytest.mark.parametrize("name", FILES)
def test_entity_tag(site, name):
    etag = site.client.get(address(name)).header("ETag")
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = site.client.get(address(name), headers={"If-None-Match": known})
        assert (answer.status, answer.body) == (304, b""), known
        assert answer.header("ETag") == etag and answer.header("Cache-Control") == "no-cache"
        assert answer.header("Content-Type") is None
    for other in ('"other"', etag.strip('"'), ""):
        assert site.client.get(address(name), headers={"If-None-Match": other}).body == source(name)


def test_entity_tags_differ(site):
    tags = [site.client.get(address(name)).header("ETag") for name in FILES] + [site.client.get("/v1/gitlab/bbm").header("ETag")]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("name", FILES)
def test_head(site, name):
    head = site.client.request("HEAD", address(name))
    assert (head.status, head.body) == (200, b"")
    assert head.header("Content-Length") == str(len(source(name)))


def test_other_methods_and_tokens(site, token):
    for given in (None, "bad", token):
        answer = site.client.post(address("page.html"), given)
        assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD, OPTIONS")
        assert site.client.get(address("page.html"), given).status == 200


def test_page_needs_no_database(servers):
    with servers.service("no_such_database") as service:
        for name in FILES:
            assert fastcgi.ask(service.address, fastcgi.parameters("GET", address(name))).status == 200


def test_no_data_and_no_settings_in_any_file(site):
    for name in FILES:
        text = site.client.get(address(name)).body.decode()
        for secret in ("a name that no page may carry", "gitlab-issuer", site.database.name, "127.0.0.1"):
            assert secret not in text, (name, secret)


def test_addresses_are_relative_and_lead_to_files():
    scripts = [name for name in FILES if name.endswith(".js")]
    page = source("page.html").decode()
    assert sorted(referred(page)) == ["page.css", "page.js"]
    for name in scripts:
        for module in imported(source(name).decode()):
            assert module[:2] == "./" and module[2:] in scripts
    whole = page + "".join(source(name).decode() for name in scripts) + source("page.css").decode()
    assert not re.search(r"(?:https?:)?//[a-z]", whole.replace("http://www.w3.org/2000/svg", "")), "an absolute address"


def test_nothing_inline_and_no_html_from_text():
    page = source("page.html").decode()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script[^>]*>[^<]", page)
    for name in FILES:
        if name.endswith(".js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", source(name).decode())


@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
@pytest.mark.parametrize("base", routes.BASES)
def test_references_lead_to_files_with_and_without_the_slash(site, base, slash):
    assert_references(site.client, f"{base}/bbm{slash}")


def assert_references(client, path):
    answer = client.get(path)
    assert answer.status == 200 and answer.header("Location") is None, answer
    found = referred(answer.body.decode())
    assert len(found) == 2
    for reference in found:
        target = urllib.parse.urljoin(path, reference)
        assert client.get(target).body == source(os.path.basename(target)), target


@pytest.mark.parametrize("mount", OTHER_MOUNTS, ids=lambda mount: mount.__name__)
def test_through_other_mounts(servers, site, mount):
    with mount(servers, site.database) as mounted:
        for base in routes.BASES:
            for slash in ("", "/"):
                assert_references(mounted.client, f"{base}/bbm{slash}")
            for name in FILES:
                answer = mounted.client.get(address(name, base))
                assert (answer.status, answer.body) == (200, source(name))
                assert "frame-ancestors 'none'" in answer.header("Content-Security-Policy")
                etag = answer.header("ETag")
                assert mounted.client.get(address(name, base), headers={"If-None-Match": etag}).status == 304


def test_behind_a_prefix(servers, site):
    with servers.service(site.database.name, {"http": {"prefix": "/registry/"}}) as service:
        for path in ("/registry/v1/gitlab/bbm/", "/registry/gitlab/v1/bbm/page.js"):
            assert fastcgi.ask(service.address, fastcgi.parameters("GET", path)).status == 200
        assert fastcgi.ask(service.address, fastcgi.parameters("GET", "/v1/gitlab/bbm/")).status == 404


def test_picture_for_the_readme_is_small():
    with open(os.path.join(FOLDER, "page.png"), "rb") as file:
        content = file.read()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) < 60_000
