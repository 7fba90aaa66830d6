"""Regular expressions: those that RE2 takes and this module can run, in time linear in the text.

In: a pattern. Out: a Program that says whether it is found in a text. Errors: RegexError with the place in the pattern.

The store runs patterns with RE2; live events are matched here. Python's `re` takes other patterns, and backtracks:
one tenant's `(a+)+$` would hold up every thread. So the pattern is parsed into a program for a machine that is in
several states at once (Thompson 1968), whose sets of states are remembered as they occur. `.` matches line breaks, `$`
only the end, classes as `\\d` are ASCII, as in the store.
"""

from functools import lru_cache

from parsec.query.language.regex_steps import Assert, Code, Set, Split, is_word
from parsec.query.language.regex_syntax import RegexError, parsed

__all__ = ("Program", "RegexError", "compiled")

_REMEMBERED = 10_000
"""Places in all remembered states of one program; about a megabyte."""


class _State:
    """Places to go on from after `before`, and where each next character led."""

    __slots__ = ("before", "next", "places")

    def __init__(self, places: frozenset[int], before: str) -> None:
        self.places = places
        self.before = before
        self.next: dict[str, _State | None] = {}


_UNKNOWN = _State(frozenset(), "")


class Program:
    """A pattern, ready to run. For one thread at a time, or several that do not mind remembering twice."""

    def __init__(self, steps: Code) -> None:
        self._steps = steps
        self._states: dict[tuple[frozenset[int], str], _State] = {}
        self._links = 0
        self._start = _State(frozenset((0,)), "")

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`."""
        state: _State | None = self._start
        for character in text:
            assert state is not None
            following = state.next.get(character, _UNKNOWN)
            state = self._follow(state, character) if following is _UNKNOWN else following
            if state is None:
                return True
        assert state is not None
        return len(self._steps) in self._closure(state, "")

    def _follow(self, state: _State, character: str) -> _State | None:
        """The state after `character`; None once the pattern has been found."""
        open_places = self._closure(state, character)
        following: _State | None = None
        if len(self._steps) not in open_places:
            steps = self._steps
            taken = {at + 1 for at in open_places if isinstance(step := steps[at], Set) and step.has(character)}
            # What `^`, `$` and `\b` ask of the character before is all that is kept of it.
            kind = "\n" if character == "\n" else "w" if is_word(character) else " "
            key = (frozenset((0, *taken)), kind)
            following = self._states.get(key)
            if following is None:
                following = self._states[key] = _State(*key)
        if self._links >= _REMEMBERED:
            self._links, self._states = 0, {}
            self._start = _State(frozenset((0,)), "")
            state.next = {}
        self._links += 1 + len(state.places)
        state.next[character] = following
        return following

    def _closure(self, state: _State, after: str) -> set[int]:
        """All places that are reached without reading; the place after the last step means found."""
        seen: set[int] = set()
        waiting = list(state.places)
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            step = self._steps[at] if at < len(self._steps) else None
            if isinstance(step, Split):
                waiting += (at + step.first, at + step.second)
            elif isinstance(step, Assert) and step.holds(state.before, after):
                waiting.append(at + 1)
        return seen


@lru_cache(64)
def compiled(pattern: str) -> Program:
    """Raises RegexError."""
    return Program(parsed(pattern))
