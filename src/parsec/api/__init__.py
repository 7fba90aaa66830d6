"""Everything that crosses HTTP, written once: structs, query parameters, the rules of an event, error codes.

The server encodes the structs and the client decodes them; the OpenAPI document is derived from them. The names and the
order of their fields are the wire format. A field without a default is always sent. Imports parsec.core only.
Next: parsec.api.event.
"""
