"""Explain why a directory cannot be used: a file in the way, a path too long, a read-only file system, permissions.

In: the path of a directory that should exist or be created. Out: the reason and the remedy, or None.
Errors: none.
"""

import errno
import os
from pathlib import Path

NOT_FOR_SPACE = frozenset(
    {
        *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
        *(errno.ELOOP, errno.EADDRINUSE, errno.EMFILE, errno.ENFILE),
    }
)
"""Errors that a full disk does not cause."""


def why_unusable(directory: Path) -> str | None:
    """None: no reason found."""
    directory = directory.absolute()
    try:
        directory.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # the nearest existing parent tells more
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return f"its path is too long ({len(os.fsencode(directory))} bytes): choose a shorter one"
        return f"{error.strerror}: choose another directory"
    there = next(place for place in (directory, *directory.parents) if os.path.lexists(place))
    if not there.is_dir():
        what = "a file" if there.exists() else "a broken link"
        return f"{there} is {what}, not a directory: choose another directory"
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        return f"the file system of {there} is read-only: mount it for writing, or choose another directory"
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        may = f"user {os.geteuid()} cannot write in {there}"
        return f"{may}: change its owner or permissions, or choose another directory"
    return None
