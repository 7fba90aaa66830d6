"""Which scope an address asks for: three lists that must agree, and what becomes of an address on none of them.

Numbers: parsec.web.app.
"""

from parsec.web.app import right_for
from parsec.web.openapi.endpoints import OPERATIONS
from tests.support.addresses import all_addresses


def test_the_app_asks_for_what_is_declared() -> None:
    declared = {each.endpoint.path: each.scope for each in OPERATIONS if each.endpoint.path != "/ingest"}
    assert {path: right_for(path) or "" for path in declared} == declared
    assert {path: right for (_, path), (right, _) in all_addresses().items() if path != "/ingest"} == declared


def test_an_address_that_nobody_thought_about_is_for_admins() -> None:  # 1
    assert right_for("/of/tomorrow") == "admin"
