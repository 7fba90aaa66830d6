"""How a query parameter is declared, and what follows from a declaration.

In: a struct with one field per parameter of an endpoint (parsec.api.parameters). Out: `parse` for the server, from a
query string to that struct; `address` for the client, from that struct to a path with its query string; `parameters`
for OpenAPI, docs, fuzz tests and flags, the same declaration as data. Errors: `parse` raises
Rejected(unknown_parameter, invalid_parameter, missing_parameter), which names the parameter in its `field`.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin
from urllib.parse import quote, urlencode

import msgspec

from parsec.core.errors import Rejected

_MAX_DIGITS = 20


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of a parameter beside its name, type and default, inside its Annotated type.

    `minimum`, `maximum`: of an integer. `format` names the syntax of a text for OpenAPI and the fuzz tests; the code
    that knows the syntax checks it. `max_count`: the longest list; a list parameter is repeated, or with `commas` one
    text. `needs`: another parameter without which this one is refused. `default`: for the docs, where None stands for
    what the server does without a value.
    """

    help: str
    minimum: int | None = None
    maximum: int | None = None
    max_chars: int | None = None
    pattern: str = ""
    format: str = ""
    max_count: int = 1
    commas: bool = False
    needs: str = ""
    default: str | int | None = None
    example: str | Sequence[str] | None = None
    in_path: bool = False


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter: `name` in the address, `keyword` in Python. `kind`: of one value, or of each value of a list."""

    name: str
    keyword: str
    kind: Literal["text", "integer", "choice"]
    choices: Sequence[str]
    is_list: bool
    required: bool
    default: Any
    spec: Spec

    @property
    def json_type(self) -> str:
        return "integer" if self.kind == "integer" else "string"

    def value(self, text: str) -> Any:
        """The value that a text stands for. Raises Rejected(invalid_parameter)."""
        if self.spec.commas:
            parts = tuple(part.strip() for part in text.split(",") if part.strip())
            if not parts:
                raise self.refused(f"`{self.name}` is blank; name one or more, or leave it out.")
            return parts
        if self.kind == "integer":
            low, high = self.spec.minimum or 0, self.spec.maximum or 0
            if len(text) > _MAX_DIGITS or not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
                raise self.refused(f"`{self.name}` must be a whole number from {low} to {high}.")
            return int(text)
        if self.kind == "choice" and text not in self.choices:
            raise self.refused(f"`{self.name}` must be one of: {', '.join(self.choices)}.")
        return text

    def refused(self, message: str) -> Rejected:
        return Rejected("invalid_parameter", message, field=self.name)


Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")


class Endpoint(Generic[Q, A]):
    """A path, the struct `query` of its parameters, and the struct `answer` that the server sends."""

    def __init__(
        self, name: str, path: str, query: type[Q], answer: type[A], method: Literal["get", "post"] = "get"
    ) -> None:
        self.name = name
        self.method = method
        self.path = path
        self.query = query
        self.answer = answer
        self.parameters = tuple(_parameter(field) for field in msgspec.structs.fields(query))
        self._in_address = {each.name: each for each in self.parameters if not each.spec.in_path}
        self._in_path = tuple(each for each in self.parameters if each.spec.in_path)
        self._needy = tuple(each for each in self.parameters if each.spec.needs)

    def parse(self, pairs: Iterable[tuple[str, str]], path: Mapping[str, str] | None = None) -> Q:
        """The parameters of a request, from the names and values of its query string and of its path."""
        given: dict[str, Any] = {}
        for name, text in pairs:
            parameter = self._in_address.get(name)
            if parameter is None:
                known = ", ".join(self._in_address)
                valid = f"Valid parameters: {known}." if known else f"{self.path} takes no parameters."
                raise Rejected("unknown_parameter", f"Unknown parameter `{name}`. {valid}", field=name)
            value = parameter.value(text)
            if parameter.is_list and not parameter.spec.commas:
                value = given[parameter.keyword] = (*given.get(parameter.keyword, ()), value)
            if parameter.is_list and len(value) > parameter.spec.max_count:
                raise parameter.refused(f"`{name}` takes at most {parameter.spec.max_count} values.")
            if given.setdefault(parameter.keyword, value) != value:
                raise parameter.refused(f"`{name}` is given twice with different values; give it once.")
        for parameter in self._needy:
            needed = self._in_address[parameter.spec.needs]
            if parameter.keyword in given and needed.keyword not in given:
                message = f"`{parameter.name}` needs `{needed.name}`: add `{needed.name}`, or leave it out."
                raise Rejected("missing_parameter", message, field=needed.name)
        for parameter in self._in_path:
            given[parameter.keyword] = parameter.value((path or {})[parameter.name])
        return self.query(**given)

    def address(self, asked: Q) -> str:
        """The path and query string of a request, without the parameters that have their default."""
        path, pairs = self.path, []
        for parameter in self.parameters:
            value = getattr(asked, parameter.keyword)
            if parameter.spec.in_path:
                path = path.replace(f"{{{parameter.name}}}", quote(str(value), safe=""))
            elif value != parameter.default and not (parameter.is_list and not value):
                pairs.append((parameter.name, ",".join(value) if parameter.spec.commas else value))
        return f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path


def _parameter(field: msgspec.structs.FieldInfo) -> Parameter:
    annotated = field.type
    assert get_origin(annotated) is Annotated, f"{field.name} has no Spec"
    type_, spec = get_args(annotated)
    types = [each for each in get_args(type_) if each is not NoneType] if NoneType in get_args(type_) else [type_]
    (kind,) = types
    is_list = get_origin(kind) is not None and get_origin(kind) is not Literal
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return Parameter(
        name=field.encode_name,
        keyword=field.name,
        kind="integer" if kind is int else "choice" if choices else "text",
        choices=choices,
        is_list=is_list,
        required=field.required,
        default=None if field.required else field.default,
        spec=spec,
    )
