"""The HTTP interface as OpenAPI: openapi.yaml is made from this package and from parsec.api.

Structs and parameters come from parsec.api; this package adds what only people read, and the errors of each endpoint. A
route without an operation fails tests/unit/web/test_openapi.py. Next: parsec.web.openapi.document.
"""
