"""Pause, resume and restart of one migration: the table of contract section 3, cell by cell."""

import datetime

import pytest
from harness import routes
from harness.answer import ID_INVALID, conflict_body, error_body
from harness.refusals import NO_ACCESS, NO_TOKEN, assert_refused
from harness.rows import STATUS

LONG_AGO = datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)
UNKNOWN = 5

# Action: what each state becomes; what is not there is a conflict.
TABLE = {
    "pause": {0: 0, 1: 0, 4: 0},
    "resume": {0: 1, 1: 1, 4: 4},
    "restart": {1: 1, 4: 4, 3: 1},
}
PARTICIPLE = {"pause": "paused", "resume": "resumed", "restart": "restarted"}
CELLS = [(action, state) for action in TABLE for state in (*STATUS, UNKNOWN, -1)]

SNAPSHOT = "SELECT *, ctid::text AS place, xmin::text AS writer FROM {} ORDER BY id"


@pytest.fixture(scope="module", params=[False, True], ids=["without history", "with history"])
def site(servers, request):
    with servers.database(history=request.param) as database, servers.site(database) as site:
        yield site


@pytest.fixture(scope="module")
def token(keys):
    return keys.token("write")


@pytest.fixture
def scene(site):
    """7 in the state that is asked for, and one of each state beside it, all with jobs."""

    def set_up(state):
        site.database.clear()
        columns = {"updated_at": LONG_AGO, "failure_error_code": 4, "total_tuple_count": 9}
        beside = {20 + number: number for number in STATUS}
        for identity, status in {7: state, **beside}.items():
            site.database.add_migration(f"m{identity}", id=identity, status=status, **columns)
            for status, attempts in ((2, 1), (3, 5), (3, 2), (3, 0), (1, 4)):
                site.database.add_jobs(identity, status, 1, attempts=attempts)

    return set_up


def snapshot(database, table="batched_background_migrations"):
    return {row["id"]: row for row in database.rows(SNAPSHOT.format(table))}


def jobs(database):
    return snapshot(database, "batched_background_migration_jobs")


def paths(action, identity=7):
    for base in routes.BASES:
        yield f"{base}/background-migrations/{identity}/{action}"
        if action == "restart":
            yield f"{base}/restart/{identity}"


def all_paths():
    return [(action, path + slash) for action in TABLE for path in paths(action) for slash in ("", "/")]


def state_name(state):
    return STATUS.get(state, "unknown")


def message(action, state, becomes):
    if becomes == state:
        return f"Background migration 7 is {state_name(state)} already; nothing had to be changed"
    return f"Background migration 7 has been {PARTICIPLE[action]}"


def without_action_id(answer):
    """That is for the tests of the history."""
    return {name: value for name, value in answer.json.items() if name != "action_id"}


@pytest.mark.parametrize("action, state", CELLS)
def test_the_answer(site, token, scene, action, state):
    scene(state)
    answer = site.client.post(routes.action(action, 7), token)
    assert answer.header("Content-Type") == "application/json"
    if state not in TABLE[action]:
        assert (answer.status, answer.json) == (409, conflict_body(7, state_name(state)))
        return
    becomes = TABLE[action][state]
    changed = {"id": 7, "name": "m7", "previous_status": state_name(state), "status": state_name(becomes)}
    assert answer.status == 200
    assert without_action_id(answer) == {
        "success": True,
        "message": message(action, state, becomes),
        "migrations": [changed] if becomes != state else [],
        "job_in_flight": False,
    }


@pytest.mark.parametrize("action, state", CELLS)
def test_the_row_and_no_other(site, token, scene, action, state):
    scene(state)
    before, jobs_before = snapshot(site.database), jobs(site.database)
    started = site.database.rows("SELECT clock_timestamp() AS now")[0]["now"]
    site.client.post(routes.action(action, 7), token)
    ended = site.database.rows("SELECT clock_timestamp() AS now")[0]["now"]

    expected = before
    after, becomes = snapshot(site.database), TABLE[action].get(state, state)
    if becomes != state:
        assert started <= after[7]["updated_at"] <= ended
        written = {name: after[7][name] for name in ("updated_at", "place", "writer")}
        error = None if action == "restart" else 4
        expected = {**before, 7: {**before[7], "status": becomes, "failure_error_code": error, **written}}
    assert after == expected

    if action == "restart" and state == 3:
        for identity, job in jobs(site.database).items():
            was = jobs_before[identity]
            if was["batched_background_migration_id"] == 7 and was["status"] == 3 and was["attempts"]:
                was = {**was, "attempts": 0, "place": job["place"], "writer": job["writer"]}
            assert job == was
    else:
        assert jobs(site.database) == jobs_before


@pytest.mark.parametrize("action, state", CELLS)
def test_again(site, token, scene, action, state):
    """The second time there is nothing left to do, or it is refused as the first time was."""
    scene(state)
    first = site.client.post(routes.action(action, 7), token)
    before, jobs_before = snapshot(site.database), jobs(site.database)
    second = site.client.post(routes.action(action, 7), token)
    assert second.status == first.status
    if first.status == 200:
        becomes = TABLE[action][state]
        assert second.json == {**without_action_id(first), "message": message(action, becomes, becomes), "migrations": []}
    else:
        assert second.json == first.json
    assert (snapshot(site.database), jobs(site.database)) == (before, jobs_before)


@pytest.mark.parametrize("action", TABLE)
def test_what_one_passes_over_all_pass_over(site, token, scene, action):
    """The same table for the actions on all; there is no restart of all."""
    scene(UNKNOWN)
    if action == "restart":
        assert site.client.post(routes.action(action), token).status == 404
        return
    answer = site.client.post(routes.action(action), token)
    assert answer.status == 200
    expected = {7: UNKNOWN, **{20 + state: TABLE[action].get(state, state) for state in STATUS}}
    assert {identity: row["status"] for identity, row in snapshot(site.database).items()} == expected
    changed = {20 + state for state, becomes in TABLE[action].items() if becomes != state}
    assert {migration["id"] for migration in answer.json["migrations"]} == changed


@pytest.mark.parametrize("action, path", all_paths())
def test_each_path(site, token, scene, action, path):
    state = 3 if action == "restart" else 1 - TABLE[action][0]
    scene(state)
    assert site.client.post(path, token).json["migrations"][0]["id"] == 7
    assert snapshot(site.database)[7]["status"] == TABLE[action][state]


@pytest.mark.parametrize("action, path", all_paths())
def test_methods_and_access(site, keys, scene, action, path):
    scene(3 if action == "restart" else 1 - TABLE[action][0])
    before = snapshot(site.database)
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        answer = site.client.request(method, path, keys.token("*"))
        assert (answer.status, answer.header("Allow")) == (405, "POST, OPTIONS")
    options = site.client.request("OPTIONS", path)
    assert (options.status, options.header("Allow")) == (204, "POST, OPTIONS")
    assert_refused(site.client.post(path), "write", NO_TOKEN)
    assert_refused(site.client.post(path, keys.token("read")), "write", NO_ACCESS)
    assert snapshot(site.database) == before
    assert site.client.post(path, keys.token("*")).status == 200


@pytest.mark.parametrize("action", TABLE)
@pytest.mark.parametrize("identity", [8, 2**63 - 1])
def test_an_absent_migration(site, token, scene, action, identity):
    scene(1)
    before = snapshot(site.database)
    found = "does not exist" if action == "restart" else "not found"
    expected = error_body("BBM_ID_NOT_FOUND", "provided BBM Id has not been found", f"BBM with ID {identity} {found}")
    for path in paths(action, identity):
        answer = site.client.post(path, token)
        assert (answer.status, answer.json) == (404, expected)
    assert snapshot(site.database) == before


@pytest.mark.parametrize("action", TABLE)
def test_an_id_that_is_no_int64(site, token, action):
    for path in paths(action, 2**63):
        answer = site.client.post(path, token)
        assert (answer.status, answer.json) == (400, ID_INVALID)
        assert_refused(site.client.post(path), "write", NO_TOKEN)


@pytest.mark.parametrize("action", TABLE)
def test_no_other_path(site, token, scene, action):
    scene(1)
    for path in ("0/" + action, "07/" + action, "7x/" + action, f"7/{action}/x", f"-7/{action}", f"7/{action}s"):
        assert site.client.post(routes.LIST + path, token).status == 404


@pytest.mark.parametrize("action", TABLE)
def test_no_other_id_in_the_body(site, token, scene, action):
    scene(3 if action == "restart" else 1 - TABLE[action][0])
    before = site.database.migrations()
    answer = site.client.post(routes.action(action, 7), token, body=b'{"id": 20}')
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "INVALID_BODY")
    assert site.database.migrations() == before


def test_the_largest_id(site, token, scene):
    scene(1)
    largest = 2**63 - 1
    site.database.add_migration("largest", id=largest, status=3)
    for action in ("restart", "pause", "resume"):
        answer = site.client.post(routes.action(action, largest), token)
        assert answer.json["message"] == f"Background migration {largest} has been {PARTICIPLE[action]}"
        assert answer.json["migrations"][0]["id"] == largest


def test_the_answer_says_whether_a_worker_is_in_a_run(servers, site, token, scene):
    scene(1)
    connection = servers.cluster.connect(site.database.name)
    connection.autocommit = False
    connection.cursor().execute("SELECT pg_try_advisory_xact_lock(1)")
    try:
        for action in TABLE:
            assert site.client.post(routes.action(action, 21), token).json.get("job_in_flight", True) is True
    finally:
        connection.close()


def test_the_change_is_in_the_log(site, token, scene):
    """Who did what to which migration: the line of the request names it."""
    scene(3)
    answer = site.client.post(routes.action("restart", 7), token)
    entry = site.service.entry(answer.header("X-Request-Id"))
    assert entry["changed"] == [{"id": 7, "name": "m7", "previous_status": "failed", "status": "active"}]
    answer = site.client.post(routes.action("restart", 22), token)
    entry = site.service.entry(answer.header("X-Request-Id"))
    assert (entry["status"], entry.get("changed", [])) == (409, [])


def test_failed_jobs_that_have_their_attempts_are_not_written_to(site, token, scene):
    scene(3)
    site.database.execute("UPDATE batched_background_migration_jobs SET attempts = 0")
    before = jobs(site.database)
    assert site.client.post(routes.action("restart", 7), token).status == 200
    assert jobs(site.database) == before
