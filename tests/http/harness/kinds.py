"""The kinds of requests whose cost is measured, and what they are asked of."""

import os

from . import routes
from .fastcgi import parameters
from .postgres import REPOSITORY


class Kind:
    """A request, what is done to the database before each, and its status."""

    def __init__(self, name, method="GET", path=routes.LIST, status=200, before=None, token=True, **more):
        self.name, self.method, self.path, self.status = name, method, path, status
        self.before, self.token, self.more = before, token, more

    def prepare(self, database):
        if self.before:
            database.execute(self.before)

    def ask(self, request, token):
        token = token if self.token is True else self.token
        answer = request(parameters(self.method, self.path, token or None, **self.more))
        assert answer.status == self.status, answer
        return answer


TABLE = "batched_background_migrations"
CHANGE = f"UPDATE {TABLE} SET updated_at = updated_at + interval '1 second' WHERE id = 1"
ACTIVE = f"UPDATE {TABLE} SET status = 1 WHERE id = 9"
PAUSED = f"UPDATE {TABLE} SET status = 0 WHERE status IN (1, 4)"


def kinds_of(migrations, etag):
    """In an order in which none changes the cost of the next. etag: of the list as it is now."""
    listed = f"list of {migrations}"
    lists = [
        Kind(listed),
        Kind(f"{listed}, 304", status=304, HTTP_IF_NONE_MATCH=etag),
        Kind(f"{listed}, one changed", before=CHANGE),
    ]
    if migrations > 100:
        return lists
    return [
        *lists,
        Kind("one migration", path=routes.one(2)),
        Kind("page of 100 jobs", path=routes.jobs(2)),
        Kind("refused token", status=401, token="A" * 700),
        Kind("metrics", path="/-/metrics", token=False),
        Kind("pause, no change", "POST", routes.action("pause", 9), before=PAUSED),
        Kind("pause, one changed", "POST", routes.action("pause", 9), before=ACTIVE),
        Kind("pause of all, no change", "POST", routes.PAUSE, before=PAUSED),
    ]


def load(servers, database, migrations, jobs=2000, failed_every=200):
    """The benchmark's migrations and jobs."""
    servers.cluster.psql(
        database.name, "-v", f"migrations={migrations}", "-v", f"jobs={jobs}", "-v", f"failed_every={failed_every}",
        "-f", os.path.join(REPOSITORY, "tests/bench/data.sql"),
    )  # fmt: skip
