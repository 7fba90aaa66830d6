"""Expressions and their syntax trees, and what is said of those that are none."""

import pytest

from parsec.core.errors import Rejected
from parsec.core.timestamp import SECOND
from parsec.query.language import ast
from parsec.query.language.parse import parse

NOON = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00Z


def word(text: str) -> ast.Match:
    return ast.Match(ast.Field("message"), ast.Phrase(((text,),)))


def phrase(*words: str) -> ast.Match:
    return ast.Match(ast.Field("message"), ast.Phrase(tuple((word,) for word in words)))


def source(text: str) -> ast.Match:
    return ast.Match(ast.Field("source"), ast.Equal(text))


def metadata(path: str) -> ast.Field:
    return ast.Field("metadata", path)


A, B, C, D = map(word, "abcd")


@pytest.mark.parametrize(("text", "node"), [
    ("", ast.Everything()),
    (" \n\t ", ast.Everything()),
    ("a", A),
    ("a b", ast.AllOf((A, B))),
    ("a AND b", ast.AllOf((A, B))),
    ("a OR b", ast.AnyOf((A, B))),
    ("a b OR c", ast.AnyOf((ast.AllOf((A, B)), C))),
    ("a OR b AND c", ast.AnyOf((A, ast.AllOf((B, C))))),
    ("a (b OR c) d", ast.AllOf((A, ast.AnyOf((B, C)), D))),
    ("((a))", A),
    ("NOT a", ast.Not(A)),
    ("-a", ast.Not(A)),
    ("NOT NOT a", ast.Not(ast.Not(A))),
    ("a -(b OR c)", ast.AllOf((A, ast.Not(ast.AnyOf((B, C)))))),
    ("NOT a b", ast.AllOf((ast.Not(A), B))),
    ("not or and to", ast.AllOf(tuple(map(word, ("not", "or", "and", "to"))))),  # small they are words
    ("a-b", ast.Match(ast.Field("message"), ast.Phrase((("a",), ("b",))))),
])  # fmt: skip
def test_terms_are_joined(text: str, node: ast.Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(("text", "node"), [
    ('"timed out"', ast.Match(ast.Field("message"), ast.Phrase((("timed",), ("out",))))),
    ("user_id", ast.Match(ast.Field("message"), ast.Phrase((("user",), ("id",))))),
    ("Time*", ast.Match(ast.Field("message"), ast.Phrase((("time", ""),)))),
    ('"a*"', A),
    ("*", ast.Match(ast.Field("message"), ast.Exists())),
    ("message:a", A),
    ("message:(a OR b)", ast.AnyOf((A, B))),
    ("/a+/", ast.Match(ast.Field("message"), ast.Matches("a+"))),
    (r"/a\/b/", ast.Match(ast.Field("message"), ast.Matches("a/b"))),
    (r"a\:b", ast.Match(ast.Field("message"), ast.Phrase((("a",), ("b",))))),
])  # fmt: skip
def test_a_bare_term_is_about_the_message(text: str, node: ast.Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(("text", "node"), [
    ("source:Web", source("web")),
    ("source: web", source("web")),
    ("source:=web", source("web")),
    ("source:(a OR b)", ast.AnyOf((source("a"), source("b")))),
    ("source:(a NOT b)", ast.AllOf((source("a"), ast.Not(source("b"))))),
    ("a source:x b", ast.AllOf((A, source("x"), B))),
    ("source:api-*", ast.Match(ast.Field("source"), ast.Like(("api-", "")))),
    ("source:>b", ast.Match(ast.Field("source"), ast.Between("b", None, with_low=False, with_high=False))),
    ("source:*", ast.Match(ast.Field("source"), ast.Exists())),
    ("id:Ab", ast.Match(ast.Field("id"), ast.Equal("Ab"))),
    ("severity:ERR", ast.Match(ast.Field("severity"), ast.OneOf(("error",)))),
    ("severity:*r*", ast.Match(ast.Field("severity"), ast.OneOf(("trace", "warn", "error")))),
    ("severity:/^f/", ast.Match(ast.Field("severity"), ast.OneOf(("fatal",)))),
    ("severity:>=warning", ast.Match(ast.Field("severity"), ast.OneOf(("warn", "error", "fatal")))),
    ("severity:<info", ast.Match(ast.Field("severity"), ast.OneOf(("trace", "debug")))),
    ("severity:[debug TO warn}", ast.Match(ast.Field("severity"), ast.OneOf(("debug", "info")))),
    ("severity:{error TO debug}", ast.Match(ast.Field("severity"), ast.OneOf(()))),
    ("timestamp:>2026-11-23T12:00:00Z",
     ast.Match(ast.Field("timestamp"), ast.Between(NOON, None, with_low=False, with_high=False))),
    ("received_at:1795435200", ast.Match(ast.Field("received_at"), ast.Between(NOON, NOON))),
])  # fmt: skip
def test_a_field_takes_values_of_its_kind(text: str, node: ast.Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(("text", "node"), [
    ("metadata.user.id:42", ast.Match(metadata("user.id"), ast.Equal("42"))),
    ("metadata.ms:>500", ast.Match(metadata("ms"), ast.Between(500, None, with_low=False, with_high=False))),
    ("metadata.ms:>=-1.5e3", ast.Match(metadata("ms"), ast.Between(-1500.0, None))),
    ("metadata.ms:[1 TO 5}", ast.Match(metadata("ms"), ast.Between(1, 5, with_low=True, with_high=False))),
    ("metadata.ms:[* TO 5]", ast.Match(metadata("ms"), ast.Between(None, 5))),
    ("metadata.v:[1.1 TO 1.1a]", ast.Match(metadata("v"), ast.Between("1.1", "1.1a"))),  # not both numbers: texts
    ("metadata.v:>1e999", ast.Match(metadata("v"), ast.Between("1e999", None, with_low=False, with_high=False))),
    ("metadata.host:web-*", ast.Match(metadata("host"), ast.Like(("web-", "")))),
    ("metadata.host:/^w/", ast.Match(metadata("host"), ast.Matches("^w"))),
    ("metadata.host:*", ast.Match(metadata("host"), ast.Exists())),
    ('metadata."odd key":x', ast.Match(metadata("odd key"), ast.Equal("x"))),
    (r"metadata.k:x\*y", ast.Match(metadata("k"), ast.Equal("x*y"))),
    ("metadata.path:/var/db", ast.Match(metadata("path"), ast.Equal("/var/db"))),
    ("metadata.k:(0 OR >5)",
     ast.AnyOf((ast.Match(metadata("k"), ast.Equal("0")),
            ast.Match(metadata("k"), ast.Between(5, None, with_low=False, with_high=False))))),
])  # fmt: skip
def test_a_metadata_path_takes_any_value(text: str, node: ast.Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(("text", "node"), [
    (r'"C:\Windows\cmd.exe"', phrase("c", "windows", "cmd", "exe")),
    (r"CORP\jdoe", phrase("corp", "jdoe")),
    ("dir\\", phrase("dir")),
    (r"metadata.user:CORP\jdoe", ast.Match(metadata("user"), ast.Equal(r"CORP\jdoe"))),
    (r'metadata.user:"CORP\jdoe"', ast.Match(metadata("user"), ast.Equal(r"CORP\jdoe"))),
    (r"metadata.path:C:\temp\x*", ast.Match(metadata("path"), ast.Like((r"C:\temp\x", "")))),
    (r"metadata.path:C:\\*", ast.Match(metadata("path"), ast.Like(("C:\\", "")))),
    (r"metadata.path:C:\*", ast.Match(metadata("path"), ast.Equal("C:*"))),
    (r'metadata.path:"C:\\"', ast.Match(metadata("path"), ast.Equal("C:\\"))),
    ("metadata.path:C:\\", ast.Match(metadata("path"), ast.Equal("C:\\"))),
    (r'metadata.k:"a\*\"b\n"', ast.Match(metadata("k"), ast.Equal(r'a\*"b\n'))),
    (r"metadata.k:\(a\)\ \<\[\/\:", ast.Match(metadata("k"), ast.Equal("(a) <[/:"))),
    (r"metadata.k:[\d TO \w\ x]", ast.Match(metadata("k"), ast.Between(r"\d", r"\w x"))),
    (r"metadata.k:(\d OR \w)", ast.AnyOf((ast.Match(metadata("k"), ast.Equal(r"\d")),
                                         ast.Match(metadata("k"), ast.Equal(r"\w"))))),
    (r'metadata.CORP\jdoe.a\:b."c\d":1', ast.Match(metadata(r"CORP\jdoe.a:b.c\d"), ast.Equal("1"))),
])  # fmt: skip
def test_a_backslash_before_an_ordinary_character_is_itself(text: str, node: ast.Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(("text", "column", "meant"), [
    ("severity=error", 1, "severity:error"),
    ("severity==error", 1, "severity:error"),
    ("a severity = error", 12, "severity:error"),
    ('severity="error"', 1, 'severity:"error"'),
    ("(metadata.n=42)", 2, "metadata.n:42"),
    ("metadata.n>=42 a", 1, "metadata.n:>=42"),
    ("metadata.n < 42", 12, "metadata.n:<42"),
    ("a OR metadata.a.b!=x", 6, "NOT metadata.a.b:x"),
    ("timestamp>2026-11-23T12:00:00Z", 1, "timestamp:>2026-11-23T12:..."),
])  # fmt: skip
def test_an_operator_in_place_of_a_colon_is_explained(text: str, column: int, meant: str) -> None:
    assert said(text).startswith(
        f"Column {column}: did you mean `{meant}`? To search the message for this text, quote it: "
    )


@pytest.mark.parametrize("text", ["user_id=42", "level=error", "a>b", '"severity=error"', "metadata.q:severity=error"])
def test_an_operator_elsewhere_is_a_part_of_the_text(text: str) -> None:
    assert isinstance(parse(text), ast.Match)


def test_a_quote_that_a_backslash_keeps_open_is_explained() -> None:
    assert said(r'"C:\x\"') == (
        r'Column 1: a backslash before the last quote makes it part of the text; for a backslash at the end write \\".'
    )


def said(text: str) -> str:
    with pytest.raises(Rejected) as caught:
        parse(text)
    assert (caught.value.code, caught.value.field) == ("invalid_query", "q")
    return caught.value.message


@pytest.mark.parametrize(("text", "column", "why"), [
    ("a OR", 5, "something is missing at the end; remove the last operator, or add a term."),
    ("source:", 8, "the value of source: is missing; source:* finds any value; to search for the text, quote it: "
                   '"source:".'),
    ("x finished:", 12, "'finished' is no field, and its value is missing; to search for the text, quote it: "
                        '"finished:".'),
    ("(finished:) b", 11, "'finished' is no field, and its value is missing; to search for the text, quote it: "
                          '"finished:".'),
    ("metadata.n: OR b", 13, "the value of metadata.n: is missing; metadata.n:* finds any value; to search for the "
                             'text, quote it: "metadata.n:".'),
    ("(a", 1, "this parenthesis is never closed; add ) at the end, or quote it."),
    ("a)", 2, "this parenthesis closes nothing; remove or quote it."),
    ("(a OR )", 7, "a term is missing before this parenthesis; add one, or quote the parenthesis."),
    ('a "b', 3, 'this quote is never closed; add " at the end, or write \\" for the character.'),
    ('"a"b', 1, "put white space around quotes; a wildcard goes outside of them, with \\ before a space."),
    ("source::(a)", 8, "the name of a field is missing before the colon; quote a text that contains a colon."),
    ("a OR OR b", 6, 'a term is missing next to OR; to search for the word, quote it: "or".'),
    ("f(x)", 1, 'put white space around parentheses, or quote a text that contains them: "f(x)".'),
    (">5", 1, "a comparison needs a field before it: metadata.latency_ms:>500."),
    ("[1 TO 5]", 1, "a range needs a field before it: metadata.latency_ms:[1 TO 5]; quote other brackets."),
    ("metadata.a:[1 TO", 15, "the range ends early; write [1 TO 5] or [1 TO *]."),
    ("metadata.a:[* TO *]", 12, "a range needs at least one limit; write the field with * to find any value."),
    ("metadata.a:>*", 12, "a comparison needs a value; write the field with * to find any value."),
    ("/a/b/", 1, "a regular expression ends at its first slash; write \\/ for a slash in it, or quote the text."),
])  # fmt: skip
def test_a_syntax_error_has_its_column_and_what_to_write(text: str, column: int, why: str) -> None:
    assert said(text) == f"Column {column}: {why}"


@pytest.mark.parametrize(("text", "column", "why"), [
    ("level:error", 1, "unknown field 'level'; did you mean severity or metadata.level?"),
    ("a sourc:x", 3, "unknown field 'sourc'; did you mean source or metadata.sourc?"),
    ("12:30", 1, "unknown field '12'; the fields are id, timestamp, received_at, severity, source, message, region, "
                 "node and metadata.*. Did you mean metadata.12? To search for a text with a colon, quote it: "
                 '"12: ...".'),
    ("tenant:a", 1, "the tenant comes from the API key or the parameter `tenant`; remove this field."),
    ("metadata:a", 1, "name a field of the metadata: metadata.key:value."),
    ("metadata.:a", 1, "name a field of the metadata: metadata.key:value."),
    ("metadata.a`b:1", 1, "a metadata path with a backtick cannot be searched; search another field."),
    ("severity:wern", 10, "severity 'wern' is unknown; did you mean warn?"),
    ("severity:zzz", 10, "severity 'zzz' is unknown; write one of trace, debug, info, warn, error, fatal."),
    ("timestamp:>-5m", 11, "'-5m' is not a time; write RFC 3339 (timestamp:>2026-01-31T12:00:00Z) or a number since "
                           "1970. Use the parameters `from` and `to` for times relative to now."),
    ("timestamp:2026*", 11, "timestamp takes no wildcard; compare it: timestamp:>2026-01-31T12:00:00Z."),
    ("timestamp:/2026/", 11, "timestamp takes no regular expression; compare it: timestamp:>2026-01-31T12:00:00Z."),
    ("message:>a", 9, "message cannot be compared; search its words, or compare a field of the metadata."),
    ("a && b", 3, "there is no letter and no digit to search for; did you mean AND?"),
    (".->", 1, "there is no letter and no digit to search for; find other characters with a regular expression, as "
              "/->/."),
    (":x", 1, "the name of the field is empty; the fields are id, timestamp, received_at, severity, source, message, "
               "region, node and metadata.*."),
    ("a\0", 2, "an expression cannot contain NUL; remove it."),
])  # fmt: skip
def test_a_name_or_value_that_does_not_fit_is_explained(text: str, column: int, why: str) -> None:
    assert said(text) == f"Column {column}: {why}"


@pytest.mark.parametrize(("pattern", "why"), [
    ("a(b", "missing ) near 'a(b'"),
    ("ab)", "unexpected ) near 'ab)'"),
    ("a**", "bad repetition operator near '**'"),
    ("*a", "no argument for repetition operator near '*'"),
    ("[b-a]", "invalid character class range near 'b-a'"),
    (r"\8", "invalid escape sequence near '\\8'"),
    ("(?=a)", "invalid perl operator near '(?='"),
    ("a{1001}", "invalid repetition size near '{1001}'"),
])  # fmt: skip
def test_a_bad_regular_expression_is_refused_with_its_fragment(
    pattern: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hint = "; put a backslash before a character that means itself" if why[:3] in ("mis", "une", "bad", "no ") else ""
    assert said(f"source:/{pattern}/") == f"Column 8: this regular expression is not valid: {why}{hint}."
    assert capfd.readouterr().err == ""  # RE2 would log it


@pytest.mark.parametrize(
    "pattern", [r"\pL", "[[:alpha:]]", "(?P<name>a)", r"\x{1F600}", "(?i)a", r"\Qa.b\E", "x" * 500]
)
def test_what_re2_knows_is_taken(pattern: str) -> None:
    assert parse(f"/{pattern}/") == ast.Match(ast.Field("message"), ast.Matches(pattern))


@pytest.mark.parametrize(("text", "column", "why"), [
    ("a" * 4097, 4097, "an expression has at most 4096 characters; shorten it."),
    ("(" * 51 + "a" + ")" * 51, 51, "an expression may be nested at most 50 deep; simplify it."),
    ("NOT " * 51 + "a", 201, "an expression may be nested at most 50 deep; simplify it."),
    (" ".join(["a"] * 101), 201, "an expression has at most 100 terms; split it up."),
    ("source:(" + " ".join(["a"] * 101) + ")", 209, "an expression has at most 100 terms; split it up."),
    ("metadata." + "a" * 513 + ":1", 1, "a metadata path has at most 512 characters."),
    ('"' + "a " * 101 + '"', 1, "a phrase has at most 100 words."),
    ("/" + "x" * 501 + "/", 1, "a regular expression has at most 500 characters."),
])  # fmt: skip
def test_an_expression_is_bounded(text: str, column: int, why: str) -> None:
    assert said(text) == f"Column {column}: {why}"


def test_the_bounds_themselves_are_taken() -> None:
    assert parse("(" * 50 + "a" + ")" * 50) == A
    assert parse(" ".join(["a"] * 100)) == ast.AllOf((A,) * 100)
    assert parse("a" * 4096) == word("a" * 4096)


@pytest.mark.parametrize("text", ["caf\u00e9", "cafe\u0301"])
def test_a_letter_with_an_accent_is_searched_composed_and_decomposed(text: str) -> None:
    node = parse(text)
    assert isinstance(node, ast.AnyOf)
    assert set(node.nodes) == {phrase("caf\u00e9"), phrase("cafe\u0301")}
    assert parse(f'"{text} x*"') == ast.AnyOf(tuple(phrase(each, "x") for each in _words(node)))


def _words(node: ast.AnyOf) -> list[str]:
    return [
        one.test.words[0][0] for one in node.nodes if isinstance(one, ast.Match) and isinstance(one.test, ast.Phrase)
    ]


@pytest.mark.parametrize("text", ["\u767b\u5f55", "\u00f8", "\u03c3", "plain"])
def test_a_term_with_one_form_is_one_condition(text: str) -> None:
    assert isinstance(parse(text), ast.Match)
