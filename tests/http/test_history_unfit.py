"""A history that this program cannot use, as of another version or without its rights, counts as none."""

import pytest
from harness import fastcgi, routes
from harness.fastcgi import parameters

UNFIT = {
    "a role that may not write it": (
        "REVOKE INSERT ON bbm_fcgi.changes FROM bbm_fcgi",
        "GRANT INSERT ON bbm_fcgi.changes TO bbm_fcgi",
    ),
    "a role that may not read it": (
        "REVOKE SELECT ON bbm_fcgi.actions FROM bbm_fcgi",
        "GRANT SELECT ON bbm_fcgi.actions TO bbm_fcgi",
    ),
    "a role that may not enter the schema": (
        "REVOKE USAGE ON SCHEMA bbm_fcgi FROM bbm_fcgi",
        "GRANT USAGE ON SCHEMA bbm_fcgi TO bbm_fcgi",
    ),
    "a column of the actions that is missing": (
        "ALTER TABLE bbm_fcgi.actions RENAME reason TO other",
        "ALTER TABLE bbm_fcgi.actions RENAME other TO reason",
    ),
    "a column of the changes that is missing": (
        "ALTER TABLE bbm_fcgi.changes RENAME previous_status TO other",
        "ALTER TABLE bbm_fcgi.changes RENAME other TO previous_status",
    ),
    "a table that is missing": (
        "ALTER TABLE bbm_fcgi.changes RENAME TO other",
        "ALTER TABLE bbm_fcgi.other RENAME TO changes",
    ),
}


@pytest.fixture(scope="module")
def database(servers):
    with servers.database(history=True) as database:
        yield database


@pytest.fixture(autouse=True)
def scene(database):
    database.clear()
    database.clear_history()
    database.add_migration("m1", id=1, status=1)
    database.add_migration("m2", id=2, status=1)


@pytest.mark.parametrize("spoil, mend", UNFIT.values(), ids=UNFIT)
def test_everything_else_works(desk, database, spoil, mend):
    desk.done("pause", 1, "reason=INC-4711")
    database.execute(spoil)
    try:
        ready = fastcgi.ask(desk.service.address, parameters("GET", "/-/readiness"))
        assert ready.json == {"status": "ok", "history": False}
        assert "paused_by" not in desk.one(1) and desk.ask("GET", routes.LIST).status == 200
        answer = desk.act("pause", 2, HTTP_IDEMPOTENCY_KEY="once")
        assert answer.status == 200 and answer.json["migrations"] and "action_id" not in answer.json
        for answer in (desk.ask("GET", routes.actions()), desk.ask("GET", routes.actions(1)), desk.undo(1)):
            assert (answer.status, answer.json["errors"][0]["code"]) == (404, "HISTORY_NOT_ENABLED")
    finally:
        database.execute(mend)
    assert desk.one(1)["pause_reason"] == "INC-4711"
    assert len(desk.history()) == 1
