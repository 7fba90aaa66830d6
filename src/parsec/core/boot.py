"""Which start of the machine this is.

In: nothing. Out: 16 bytes, another value after each start of the machine. Errors: none.
Next: parsec.adapters.log.files, parsec.adapters.store.chdb.unsynced_merges.
"""

from pathlib import Path

UNKNOWN = bytes(16)


def boot_id() -> bytes:
    """UNKNOWN where the system does not tell."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return UNKNOWN
    return bytes.fromhex(text.strip().replace("-", ""))
