"""The parameters of a request, and what they mean for its caller: which tenant, and which cursor.

In: a request that has passed parsec.web.app. Out: the struct of its parameters (parsec.api.parameters), the tenant,
cursors. Errors: Rejected, which names the parameter.
"""

from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import Request

from parsec.api.endpoint import Endpoint
from parsec.core.errors import Rejected
from parsec.keys.key import Caller
from parsec.keys.keyring import CursorCipher

Q = TypeVar("Q", bound=msgspec.Struct)


def parse_parameters(request: Request, endpoint: Endpoint[Q, Any]) -> Q:
    """The parameters of the query string and of the path."""
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise Rejected("invalid_parameter", "The query string is not percent-encoded UTF-8.") from None
    return endpoint.parse(request.query_params.multi_items(), request.path_params)


def tenant_of(request: Request, asked: str | None, no_tenant: str = "") -> str:
    """The tenant of the key, or the parameter's when the key may name any.

    `no_tenant`: a word that stands for events without a tenant, which need the scope admin.
    """
    caller: Caller = request.scope["caller"]
    tenant, own = (asked or "").strip().lower(), caller.tenant
    if no_tenant and tenant == no_tenant:
        caller.require("admin")
    elif own is not None:
        if tenant not in ("", own):
            message = "This API key belongs to another tenant; leave out the parameter `tenant`."
            raise Rejected("wrong_tenant", message, field="tenant", status=403)
        tenant = own
    elif not tenant:
        message = "Name a tenant: ?tenant=... (--tenant or PARSEC_TENANT on the command line)."
        raise Rejected("missing_parameter", message, field="tenant")
    request.scope["tenant"] = tenant  # for the request log
    return tenant


def decrypted_cursor(request: Request, cursor: str | None) -> str | None:
    """The cursor as parsec.query made it; "-", which it cannot read, for a text that Parsec never encrypted."""
    cipher: CursorCipher | None = request.scope["cursor_cipher"]
    return cursor if not cursor or cipher is None else cipher.decrypt(cursor) or "-"


def encrypted_cursor(request: Request, cursor: str | None) -> str | None:
    """The cursor as a client may see it: it holds an offset, which counts the events of all tenants."""
    cipher: CursorCipher | None = request.scope["cursor_cipher"]
    return cursor if cursor is None or cipher is None else cipher.encrypt(cursor)
