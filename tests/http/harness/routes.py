"""The routes of contract section 1: the mission's seven, and those that came later."""

BASES = ("/v1/gitlab", "/gitlab/v1")
PAUSED = "All eligible background migrations have been paused"
RESUMED = "All eligible background migrations have been resumed"


class Route:
    def __init__(self, method, path, access):
        self.method = method
        self.path = path
        self.access = access

    def __repr__(self):
        return f"{self.method} {self.path}"


ROUTES = (
    Route("GET", "/background-migrations", "read"),
    Route("GET", "/background-migrations/{id}", "read"),
    Route("POST", "/background-migrations/pause", "write"),
    Route("POST", "/background-migrations/resume", "write"),
    Route("GET", "/bbm/status", "read"),
    Route("POST", "/bbm/pause", "write"),
    Route("POST", "/bbm/resume", "write"),
)
LATER_ROUTES = (
    Route("POST", "/restart/{id}", "write"),
    Route("POST", "/background-migrations/{id}/pause", "write"),
    Route("POST", "/background-migrations/{id}/resume", "write"),
    Route("POST", "/background-migrations/{id}/restart", "write"),
    Route("GET", "/background-migrations/{id}/jobs", "read"),
    Route("GET", "/background-migrations/{id}/actions", "read"),
    Route("GET", "/bbm/actions", "read"),
)
LISTS = ("/background-migrations", "/bbm/status")
PAUSES = ("/background-migrations/pause", "/bbm/pause")
RESUMES = ("/background-migrations/resume", "/bbm/resume")
ONE_BASE = BASES[0]
LIST = ONE_BASE + "/background-migrations/"
PAUSE = LIST + "pause/"
RESUME = LIST + "resume/"


def one(identity):
    return f"{LIST}{identity}/"


def action(name, identity=None):
    """The path of an action on one migration, or on all."""
    return f"{LIST}{name}/" if identity is None else f"{LIST}{identity}/{name}/"


def jobs(identity, query=""):
    return f"{LIST}{identity}/jobs/" + (f"?{query}" if query else "")


def actions(identity=None):
    """The path of the history, of all migrations or one."""
    return f"{ONE_BASE}/bbm/actions/" if identity is None else f"{LIST}{identity}/actions/"
