"""Databases in other encodings than UTF-8, contract section 2: an answer is always valid UTF-8."""

import re

import pytest
from harness import fastcgi, routes

REPLACED = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture(scope="module")
def ascii_site(servers):
    with servers.database(encoding="SQL_ASCII") as database, servers.site(database) as site:
        yield site


@pytest.fixture(scope="module")
def latin_site(servers):
    with servers.database(encoding="LATIN1") as database, servers.site(database) as site:
        yield site


@pytest.fixture(autouse=True)
def empty_tables(ascii_site, latin_site):
    ascii_site.database.clear()
    latin_site.database.clear()


def add_bytes(database, raw):
    """A migration with these bytes in all its texts. A database in SQL_ASCII stores any bytes."""
    literal = "E'" + "".join(f"\\x{byte:02x}" for byte in raw) + "'"
    identity = database.add_migration("m")
    names = ("name", "job_signature_name", "table_name", "column_name", "batching_strategy")
    database.execute(f"UPDATE batched_background_migrations SET {', '.join(f'{name} = {literal}' for name in names)}")
    return identity


def texts(migration):
    names = ("name", "job_signature_name", "target_table", "target_column", "batching_strategy")
    return {migration[name] for name in names}


@pytest.mark.parametrize(
    "raw",
    [
        b"before \xe9 after",
        b"before \xff\xfe after",
        b"before \xc3 after",
        b"before \xe2\x82 after",
        b"before \xc0\xaf after",
        b"before \xed\xa0\x80 after",
        b"before \xf4\x90\x80\x80 after",
        b"before \xf8\x88\x80\x80\x80 after",
        b"before \x80 after",
    ],
    ids=[
        "latin letter", "never valid", "lone start", "truncated", "overlong", "surrogate", "too high",
        "five bytes", "lone continuation",
    ],
)  # fmt: skip
def test_invalid_utf8_is_replaced_and_its_surroundings_kept(ascii_site, token, raw):
    identity = add_bytes(ascii_site.database, raw)
    one = ascii_site.client.get(routes.one(identity), token).json["migration"]
    listed = ascii_site.client.get(routes.LIST, token).json["migrations"][0]
    for migration in (one, listed):
        assert len(texts(migration)) == 1
        assert re.fullmatch(f"before {REPLACED}+ after", migration["name"]), migration["name"]


def test_invalid_utf8_at_the_end_is_replaced(ascii_site, token):
    for raw in (b"end \xe2", b"end \xf0\x9f\xa6", b"end \xc3"):
        ascii_site.database.clear()
        identity = add_bytes(ascii_site.database, raw)
        name = ascii_site.client.get(routes.one(identity), token).json["migration"]["name"]
        assert re.fullmatch(f"end {REPLACED}+", name), name


def test_valid_utf8_in_an_sql_ascii_database_is_kept(ascii_site, token):
    text = "Größe 日本語 🦊"
    identity = add_bytes(ascii_site.database, text.encode())
    assert texts(ascii_site.client.get(routes.one(identity), token).json["migration"]) == {text}


def test_an_action_on_a_migration_with_such_a_name(ascii_site, token):
    add_bytes(ascii_site.database, b"caf\xe9")
    answer = ascii_site.client.post(routes.PAUSE, token)
    assert answer.status == 200
    assert [migration["name"] for migration in answer.json["migrations"]] == [f"caf{REPLACED}"]
    assert ascii_site.database.rows("SELECT status FROM batched_background_migrations") == [{"status": 0}]


def test_a_latin1_database_is_converted(latin_site, token):
    text = "café Größe ÿ"
    identity = latin_site.database.add_migration(text, job_signature_name=text)
    stored = latin_site.database.rows("SELECT octet_length(name) AS n FROM batched_background_migrations")
    assert stored == [{"n": len(text)}], "the scene is set wrong: this is no LATIN1"
    migration = latin_site.client.get(routes.one(identity), token).json["migration"]
    assert (migration["name"], migration["job_signature_name"]) == (text, text)
    paused = latin_site.client.post(routes.PAUSE, token).json["migrations"]
    assert [changed["name"] for changed in paused] == [text]


def test_a_byte_that_is_no_character_of_the_databases_encoding(servers, token):
    """PostgreSQL stores 0x81 as WIN1252 and cannot convert it. The other names are shown all the same."""
    with servers.database(encoding="WIN1252") as database, servers.site(database) as site:
        database.add_migration("plain", status=1)
        database.execute(r"UPDATE batched_background_migrations SET name = E'a\x81b'")
        database.add_migration("other", status=1)
        listed = site.client.get(routes.LIST, token)
        assert (listed.status, [m["name"] for m in listed.json["migrations"]]) == (200, ["a\ufffdb", "other"])
        with servers.service(database.name) as fresh:
            paused = fastcgi.ask(fresh.address, fastcgi.parameters("POST", routes.PAUSE, token))
            assert (paused.status, [m["id"] for m in paused.json["migrations"]]) == (200, [1, 2])


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
def test_a_reason_in_any_letters(servers, token, encoding):
    """Also in letters that the database's encoding does not have: they are kept as bytes, and the pause counts."""
    with servers.database(encoding=encoding, history=True) as database, servers.service(database.name) as service:
        database.add_migration("m1", id=1, status=1)
        query = "reason=%C3%A9+%E9%8D%B5+%F0%9F%90%98"
        answer = fastcgi.ask(service.address, fastcgi.parameters("POST", routes.PAUSE, token, QUERY_STRING=query))
        assert answer.status == 200 and answer.json["action_id"] == 1
        assert database.migrations()[0]["status"] == 0
        answer = fastcgi.ask(service.address, fastcgi.parameters("GET", routes.actions(), token))
        reason = answer.json["actions"][0]["reason"]
        # Of LATIN1 it is not known whether its bytes were meant as such.
        assert reason == "\u00e9 \u9375 \U0001f418" or encoding == "LATIN1" and reason.startswith("\u00c3\u00a9 ")
