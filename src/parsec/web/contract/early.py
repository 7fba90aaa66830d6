"""What any request may be told before a route sees it, for openapi.yaml."""

from collections.abc import Iterator

from parsec.web import refusals
from parsec.web.contract.operation import RETRY_AFTER, Answer, problem
from parsec.web.refusals import Refusal


def _refusals() -> Iterator[Refusal]:
    yield refusals.malformed("The request could be read in two ways.")
    yield from (each for each in vars(refusals).values() if isinstance(each, Refusal))


def _answers() -> Iterator[tuple[int, Answer]]:
    by_status: dict[int, list[Refusal]] = {}
    for refusal in _refusals():
        by_status.setdefault(refusal.status, []).append(refusal)
    for status, told in sorted(by_status.items()):
        again = all(one.retry_after_s is not None for one in told)
        text = " ".join(f"`{one.code}`: {one.detail}" for one in told)
        yield status, problem(status, text, RETRY_AFTER if again else None)


EARLY = dict(_answers())
"""By status. The connection ends after each of them."""
