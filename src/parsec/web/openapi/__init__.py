"""What the HTTP interface promises, in a form that programs read: openapi.yaml is made from this package.

Each file holds the declarations of a group of routes, beside parsec.web's file of the same group. Types of answers are
the msgspec structs that are sent. A route without a declaration fails tests/unit/web/test_openapi.py.
Next: parsec.web.openapi.document.
"""
