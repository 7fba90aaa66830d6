"""/admin, for openapi.yaml."""

from parsec.query.audit import Audit
from parsec.web.contract.operation import QUESTION_ERRORS, Operation, sent

OPERATIONS = (
    Operation(
        "get",
        "/admin/audit",
        "audit",
        "The ledger, recounted",
        "Counts rows and dead letters of the store by position, up to the committed offset of each partition, and "
        "compares them with the ledger. `difference` is 0 when all is where it should be; `not_recounted` offsets are "
        "those whose events may have left the store by age or by size.",
        [sent("The recount.", Audit), *QUESTION_ERRORS],
        scope="admin",
    ),
)
