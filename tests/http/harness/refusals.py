"""The 401 of contract section 4, word for word, and a check that an answer is one."""

from . import tokens
from .answer import error_body

NO_TOKEN, BAD_TOKEN, NO_ACCESS = None, "invalid_token", "insufficient_scope"


def challenge(action, error=NO_TOKEN, realm=tokens.REALM):
    scope = f"registry:background-migrations:{action}"
    text = f'Bearer realm="{realm}",service="{tokens.SERVICE}",scope="{scope}"'
    return text if error is NO_TOKEN else f'{text},error="{error}"'


def unauthorized(action):
    asked = {
        "Type": "registry",
        "Class": "",
        "Name": "background-migrations",
        "ProjectPath": "",
        "Action": action,
    }
    return error_body("UNAUTHORIZED", "authentication required", [asked])


def assert_refused(answer, action, error):
    assert answer.status == 401, answer
    assert answer.header("WWW-Authenticate") == challenge(action, error)
    assert answer.header("Content-Type") == "application/json"
    assert answer.json == unauthorized(action)
