"""A service with a history, and one operator after the other at it."""

from . import fastcgi, routes
from .fastcgi import parameters


class Desk:
    """Sends requests with the tokens of named operators."""

    def __init__(self, database, service, keys):
        self.database = database
        self.service = service
        self.keys = keys

    def ask(self, method, path, query="", who="alice", jti=None, **more):
        token = self.keys.token("*", sub=who, jti=jti or f"token of {who}")
        return fastcgi.ask(self.service.address, parameters(method, path, token, QUERY_STRING=query, **more))

    def act(self, action, identity=None, query="", **more):
        return self.ask("POST", routes.action(action, identity), query, **more)

    def done(self, action, identity=None, query="", **more):
        """One that has to change something; its number in the history."""
        answer = self.act(action, identity, query, **more)
        assert answer.status == 200 and answer.json["migrations"], answer
        return answer.json["action_id"]

    def undo(self, action_id, query="", **more):
        return self.act("resume", None, f"action_id={action_id}{query}", **more)

    def one(self, identity):
        return self.ask("GET", routes.one(identity)).json["migration"]

    def listed(self):
        return {migration["id"]: migration for migration in self.ask("GET", routes.LIST).json["migrations"]}

    def history(self, identity=None, query=""):
        return self.ask("GET", routes.actions(identity), query).json["actions"]

    def states(self):
        return {row["id"]: row["status"] for row in self.database.migrations()}
