"""An HTTP answer, read strictly: a body that a lenient reader would let pass must not."""

import json
from decimal import Decimal


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name):
        """The one value of this header, or None."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} stands {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def json(self):
        return read_json(self.body)

    @property
    def samples(self):
        """A scrape's, by name and labels."""
        lines = self.body.decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    def __repr__(self):
        return f"<Answer {self.status} {self.headers} {self.body[:400]!r}>"


def read_json(body):
    """Valid UTF-8, no key twice, no NaN; decimals as Decimal, so that no digit is lost."""
    return json.loads(
        body.decode("utf-8"),
        parse_float=Decimal,
        parse_constant=_refuse_constant,
        object_pairs_hook=_refuse_duplicates,
    )


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


def _refuse_duplicates(pairs):
    keys = [key for key, _ in pairs]
    assert len(set(keys)) == len(keys), f"a key stands twice: {keys}"
    return dict(pairs)


def error_body(code, message, detail=None):
    """The error body of contract section 2, with a detail where one is given."""
    error = {"code": code, "message": message}
    if detail is not None:
        error["detail"] = detail
    return {"errors": [error]}


ID_INVALID = error_body(
    "BBM_ID_INVALID", "provided BBM Id is invalid", "the id must be an integer from 1 to 9223372036854775807"
)
ALLOWED = {"paused": "it can only be resumed", "failed": "it can only be restarted"}


def conflict_body(identity, state):
    """A 409's: it names the migration and its state, and says what that allows."""
    detail = f"BBM with ID {identity} is {state}; {ALLOWED.get(state, 'no action is possible')}"
    return error_body("BBM_STATE_CONFLICT", "the migration's state does not allow this", detail)
