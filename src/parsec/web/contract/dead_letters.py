"""/deadletters, for openapi.yaml."""

from parsec.query.dead_letters import DeadPage, WholeLetter
from parsec.web.contract.operation import NOT_THERE, QUESTION_ERRORS, Operation, Parameter, sent
from parsec.web.contract.questions import CURSOR, FROM, LIMIT, TENANT, TO

_WHOLE = {"type": "integer", "minimum": 0}

OPERATIONS = (
    Operation(
        "get",
        "/deadletters",
        "deadLetters",
        "What could not become a row of the store, and why",
        "The newest first. The tenant `-` stands for letters that do not tell whose they are.",
        [sent("A page.", DeadPage), *QUESTION_ERRORS],
        [TENANT, FROM, TO, Parameter("reason", "Only those with this reason."), LIMIT, CURSOR],
        scope="query",
    ),
    Operation(
        "get",
        "/deadletters/{log_id}/{partition}/{offset}",
        "deadLetter",
        "One dead letter with its bytes",
        "`raw` where the bytes are UTF-8, else `raw_base64`.",
        [sent("The letter.", WholeLetter), *QUESTION_ERRORS, NOT_THERE],
        [
            Parameter("log_id", "Which log.", where="path", required=True),
            Parameter("partition", "Which partition.", {**_WHOLE, "maximum": 2**32 - 1}, "path", required=True),
            Parameter("offset", "Which offset.", {**_WHOLE, "maximum": 2**64 - 1}, "path", required=True),
            TENANT,
        ],
        scope="query",
    ),
)
