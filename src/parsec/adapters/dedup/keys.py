"""What a claim is stored under: 16 bytes of BLAKE2b over tenant and id.

In: tenants and ids. Out: keys of equal length, which tell nothing about either. Errors: none.
Next: parsec.adapters.dedup.local.
"""

from collections.abc import Sequence
from hashlib import blake2b


def keys_of(tenants: Sequence[str], ids: Sequence[str]) -> list[bytes]:
    """One key for each pair. No tenant has a NUL in it, so no two pairs run together."""
    return [
        blake2b(f"{tenant}\0{name}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for tenant, name in zip(tenants, ids, strict=True)
    ]
