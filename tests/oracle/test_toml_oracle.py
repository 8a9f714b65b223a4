#!/usr/bin/env python3
"""Our TOML against Python's tomllib: same acceptance, same values. Usage: test_toml_oracle.py CONVERT

What differs on purpose, each with its reason, is in known_difference().
"""

import datetime
import json
import math
import pathlib
import random
import re
import sys
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from many import HARD_STRINGS, Convert, mutate, random_object, same  # noqa: E402
from tap import check, main, test  # noqa: E402

SEED = 20240601
MUTANTS = 6000
TREES = 2000

VALID = {
    "empty": "",
    "only a comment": "# a",
    "comment after a value": "a = 1 # b\n#\n",
    "blank lines with spaces and tabs": " \n\t\na = 1\n \t",
    "line ends of DOS": "a = 1\r\nb = 2\r\n\r\n[c]\r\nd = [\r\n1,\r\n]\r\n",
    "no newline at the end": "a = 1",
    "bare keys": "a-b_C9 = 1\n1234 = 2\n- = 3\n_ = 4\n1e5 = 5\ntrue = 6\n2001-01-01 = 7",
    "quoted keys": "\"a b\" = 1\n'c\"d' = 2\n\"\" = 3\n\"\\u00e9\" = 4\n\"a.b\" = 5\nʎ = 1\n".replace("ʎ = 1\n", ""),
    "dotted keys": "a.b.c = 1\na.d = 2\n a . \"e\" . 'f' = 3\n1.2 = 4",
    "dotted keys below a header": "[a]\nb.c = 1\nb.d = 2\n[a.b.e]\nf = 3",
    "dotted key through an implicit table": "[a.b.c]\nd = 1\n[a]\nb.e = 2",
    "table headers": "[a]\n[a.b]\nc = 1\n[ d . \"e f\" ] # g\nh = 2",
    "super table after": "[a.b.c]\n[a]\nd = 1",
    "empty quoted table name": "['']\na = 1\n[\"\".b]",
    "tables out of order": "[a.b]\n[c]\n[a.d]",
    "arrays of tables": "[[a]]\nb = 1\n[[a]]\n[[a]]\nc = 2",
    "arrays of tables within each other": "[[a]]\n[[a.b]]\nc = 1\n[[a.b]]\n[a.d]\ne = 2\n[[a]]\n[[a.b]]\n[a.d]",
    "header below an array of tables": "[[a.b]]\n[a.b.c]\nd = 1\n[[a.b]]\n[a.b.c]\nd = 2",
    "basic strings": "a = \"\"\nb = \"\\b\\t\\n\\f\\r\\\"\\\\\"\nc = \"\\u00E9\\U0001F600é😀\"\nd = \"a\tb # c\"",
    "literal strings": "a = ''\nb = 'C:\\x\\\"'\nc = '\t'",
    "multi-line basic": "a = \"\"\"\nb\nc\"\"\"\nd = \"\"\"e\\\n   \n\t  f\"\"\"\ng = \"\"\"\\   \n\"\"\"\nh = \"\"\"\n\nx\"\"\"",
    "quotes at a multi-line basic's end": 'a = """"b""""\nc = """"""""\nd = """e"""""\nf = """""\\""""""\ng = """ "" """',
    "multi-line literal": "a = '''\nb\\n'c' ''d''\n'''\ne = '''f'''''\ng = ''''''''",
    "multi-line with DOS line ends": "a = '''\r\nb\r\nc'''\r\nd = \"\"\"e\\\r\n  f\r\n\"\"\"",
    "integers": "a = [0, +0, -0, 1, -1, +1, 1_000, 9223372036854775807, -9223372036854775808, 1_2_3]",
    "integers of other bases": "a = [0x0, 0xdead_BEEF, 0o755, 0b1_0, 0x7fffffffffffffff, 0o0, 0b0, 0x00ff]",
    "floats": "a = [0.0, -0.0, +1.5, 1e6, 1E-2, 6.626e-34, 1_0.0_1, 1e1_0, 0e0, 1e+06, 5e-324, 1.7976931348623157e308]",
    "float that rounds to zero": "a = 1e-9999",
    "booleans": "a = true\nb = false",
    "dates and times": "a = 1979-05-27\nb = 07:32:00\nc = 00:32:00.999999\nd = 1979-05-27T07:32:00",
    "offsets": "a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00-07:00\nc = 1979-05-27t07:32:00.5z\nd = 2000-02-29T23:59:59+23:59",
    "date before a comment": "a = 1979-05-27 # b\nc = [1979-05-27 ,1979-05-27]",
    "arrays": "a = []\nb = [1, \"c\", [2.5, true], {d = 1}]\ne = [ 1 , 2, ]\nf = [\n# g\n1\n# h\n,\n\n2,\n# i\n]",
    "inline tables": "a = {}\nb = { c = 1, d.e = 2, \"f\" = {g = []} }\nh = [{i = 1}, {}]\nj = { k.l = 1, k.m = 2 }\nn={o=[\n1\n]}",
    "unicode in keys and comments": "\"ключ\" = \"значение\" # 日本語 😀",
    "escape U+007F and U+0080": "a = \"\\u007F\\u0080\"",
    "key like a number with a sign": "-1 = 1\n0x1 = 2",
    "initdata": (pathlib.Path(__file__).resolve().parent.parent / "data/vectors/initdata/initdata.toml").read_text(),
}

INVALID = {
    "key without value": "a =",
    "key without equals": "a",
    "no key": "= 1",
    "value on the next line": "a =\n1",
    "two pairs on a line": "a = 1 b = 2",
    "text without quotes": "a = b",
    "bare key with é": "é = 1",
    "bare key with a space": "a b = 1",
    "dot at a key's end": "a. = 1",
    "dot at a key's start": ".a = 1",
    "two dots in a key": "a..b = 1",
    "multi-line key": "\"\"\"a\"\"\" = 1",
    "newline in a key": "\"a\nb\" = 1",
    "same key twice": "a = 1\na = 2",
    "same key, quoted": "a = 1\n\"a\" = 2",
    "dotted key below a value": "a = 1\na.b = 2",
    "value over a dotted key's table": "a.b = 1\na = 2",
    "table twice": "[a]\n[a]",
    "table over a value": "a = 1\n[a]",
    "table below a value": "a = 1\n[a.b]",
    "value over a table": "[a.b]\n[a]\nb = 1",
    "header over a dotted key's table": "a.b = 1\n[a]",
    "header over a dotted key's table, below a header": "[a]\nb.c = 1\n[a.b]",
    "dotted key into a header's table": "[a.b.c]\nz = 9\n[a]\nb.c.t = 1",
    "dotted key into a header's table, deeper": "[a.b.c.d]\nz = 9\n[a]\nb.c.d.k.t = 1",
    "dotted key into an array of tables": "[[a.b]]\n[a]\nb.y = 2",
    "header over a table that a dotted key extended": "[a.b.c]\n[a]\nb.d = 1\n[a.b]",
    "array of tables over a table": "[a]\n[[a]]",
    "array of tables over an implicit table": "[a.b]\n[[a]]",
    "array of tables over a value": "a = []\n[[a]]",
    "table over an array of tables": "[[a]]\n[a]",
    "table below a static array": "a = [{b = 1}]\n[a.c]",
    "table below an inline table": "a = {b = {}}\n[a.b.c]",
    "dotted key into an inline table": "a = {}\na.b = 1",
    "header over an inline table": "a = {}\n[a]",
    "inline table extends its own": "a = {b = {}, b.c = 1}",
    "inline table with one key twice": "a = {b = 1, b = 2}",
    "inline table with a value as table": "a = {b = 1, b.c = 2}",
    "comma at an inline table's end": "a = {b = 1,}",
    "only a comma in an inline table": "a = {,}",
    "newline in an inline table": "a = {\nb = 1}",
    "inline table without comma": "a = {b = 1 c = 2}",
    "inline table without end": "a = {b = 1",
    "comma alone in an array": "a = [,]",
    "two commas in an array": "a = [1,,2]",
    "array without comma": "a = [1 2]",
    "array without end": "a = [1",
    "empty header": "[]",
    "header without end": "[a",
    "header with text after": "[a] b = 1",
    "header over lines": "[a\n]",
    "array header without end": "[[a]",
    "array header with a space": "[ [a] ]",
    "empty array header": "[[]]",
    "string without end": "a = \"b",
    "string over lines": "a = \"b\nc\"",
    "literal over lines": "a = 'b\nc'",
    "text after a string": "a = \"b\"c",
    "multi-line without end": "a = \"\"\"b\"\"",
    "multi-line literal without end": "a = '''b''",
    "six quotes at the end": "a = \"\"\"b\"\"\"\"\"\"",
    "unknown escape": "a = \"\\e\"",
    "escape \\x": "a = \"\\x41\"",
    "escape of a space in a line": "a = \"b\\ c\"",
    "escaped blanks before text": "a = \"\"\"b\\  c\"\"\"",
    "short \\u": "a = \"\\u00e\"",
    "short \\U": "a = \"\\U0001F60\"",
    "surrogate": "a = \"\\ud83d\\ude00\"",
    "beyond Unicode": "a = \"\\U00110000\"",
    "control character in a string": "a = \"\x01\"",
    "DEL in a literal": "a = '\x7f'",
    "NUL in a multi-line": "a = '''\x00'''",
    "control character in a comment": "# \x1f",
    "DEL in a comment": "# \x7f",
    "carriage return alone": "a = 1\rb = 2",
    "carriage return in a comment": "# a\rb",
    "carriage return in a multi-line": "a = '''b\rc'''",
    "form feed between": "a = 1\f",
    "no-break space between": "a =\u00a01",
    "leading zero": "a = 01",
    "leading zeros of zero": "a = 00",
    "signed leading zero": "a = -01",
    "two signs": "a = ++1",
    "sign alone": "a = -",
    "underscore first": "a = _1",
    "underscore last": "a = 1_",
    "two underscores": "a = 1__0",
    "signed hexadecimal": "a = +0x1",
    "prefix in capitals": "a = 0X1",
    "prefix alone": "a = 0x",
    "underscore after the prefix": "a = 0x_1",
    "digit beyond the base": "a = 0o8",
    "digit beyond base 2": "a = 0b2",
    "point last": "a = 1.",
    "point first": "a = .5",
    "point before the exponent": "a = 1.e3",
    "leading zero of a float": "a = 01.5",
    "underscore at the point": "a = 1_.5",
    "underscore after the point": "a = 1._5",
    "exponent empty": "a = 1e",
    "exponent with a point": "a = 1e1.5",
    "underscore in front of the exponent": "a = 1_e5",
    "boolean in capitals": "a = True",
    "boolean with more": "a = trueish",
    "month 13": "a = 1979-13-01",
    "day 31 of June": "a = 1979-06-31",
    "February 29 of 1900": "a = 1900-02-29",
    "hour 24": "a = 24:00:00",
    "minute 60": "a = 12:60:00",
    "time without seconds": "a = 12:30",
    "date and time without seconds": "a = 1979-05-27T12:30Z",
    "time with an offset": "a = 12:30:00Z",
    "fraction empty": "a = 12:30:00.",
    "offset hour 24": "a = 1979-05-27T12:30:00+24:00",
    "offset without colon": "a = 1979-05-27T12:30:00+0100",
    "T alone": "a = 1979-05-27T",
    "two spaces before the time": "a = 1979-05-27  12:30:00",
    "year with five digits": "a = 11979-05-27",
    "month with one digit": "a = 1979-5-27",
}

NOT_UTF8 = {
    "bare continuation": b"a = '\x80'",
    "overlong": b"a = '\xc0\xaf'",
    "surrogate": b"a = '\xed\xa0\x80'",
    "beyond U+10FFFF": b"a = '\xf4\x90\x80\x80'",
    "cut off": b"a = '\xe2\x82'",
    "in a comment": b"# \xff",
}


def parse_oracle(text):
    """tomllib's value, or None and why not."""
    try:
        return tomllib.loads(text.decode()), None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        return None, str(error)


def out_of_range(v):
    """Python has integers of any size, inf and nan; a jansson tree has not."""
    if isinstance(v, dict):
        return any(out_of_range(item) for item in v.values())
    if isinstance(v, list):
        return any(out_of_range(item) for item in v)
    if isinstance(v, float):
        return not math.isfinite(v)
    return isinstance(v, int) and not isinstance(v, bool) and not -(2**63) <= v < 2**63


def has_nul(v):
    """U+0000 is text for Python, and the end of text for C."""
    if isinstance(v, dict):
        return any("\0" in key or has_nul(item) for key, item in v.items())
    if isinstance(v, list):
        return any(has_nul(item) for item in v)
    return isinstance(v, str) and "\0" in v


def known_difference(text, theirs, our_reason):
    """The reasons why one side may refuse what the other takes."""
    if theirs is not None:
        return out_of_range(theirs) or has_nul(theirs)
    if our_reason is None and text.startswith(b"\xef\xbb\xbf"):
        return True  # we skip the byte order mark that editors of Windows write, tomllib.loads() does not
    # Python's dates begin with the year 1.
    return our_reason is None and re.search(rb"\b0000-\d\d-\d\d", text) is not None


def same_value(theirs, ours):
    """Our dates and times are strings as written: read again by tomllib they are equal to its objects."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and theirs.keys() == ours.keys() and all(
            same_value(theirs[key], ours[key]) for key in theirs)
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(theirs) == len(ours) and all(map(same_value, theirs, ours))
    if isinstance(theirs, (datetime.date, datetime.time)):
        return isinstance(ours, str) and tomllib.loads("x = " + ours)["x"] == theirs
    return same(theirs, ours)


def compare(text, ours, reason):
    """Fails when the two readers differ."""
    theirs, their_reason = parse_oracle(text)
    if known_difference(text, theirs, reason):
        return False
    check((theirs is None) == (ours is None), f"{text!r}\n  ours: {reason or ours}\n  tomllib: {their_reason or theirs}")
    if theirs is not None:
        check(same_value(theirs, json.loads(ours)), f"{text!r}\n  ours: {ours}\n  tomllib: {theirs}")
    return theirs is not None


CONVERT = Convert(sys.argv.pop(1))


def define_document(name, text, valid):
    """One row of the tables."""

    @test(f"{'valid' if valid else 'invalid'}: {name}")
    def _():
        [(ours, reason)] = CONVERT.many("toml2json", [text])
        compare(text, ours, reason)
        check((ours is not None) == valid, f"{text!r}: {reason or ours}")
        if not valid:
            check(re.match(r"line \d+, column \d+: ", reason), f"no place in: {reason}")


for row_name, row_text in VALID.items():
    define_document(row_name, row_text.encode(), True)
for row_name, row_text in INVALID.items():
    define_document(row_name, row_text.encode(), False)
for row_name, row_text in NOT_UTF8.items():
    define_document(f"not UTF-8: {row_name}", row_text, False)


@test("mutated documents read the same")
def _():
    rng = random.Random(SEED)
    seeds = [text.encode() for text in [*VALID.values(), *INVALID.values()] if len(text) < 400]
    texts = [mutate(rng, rng.choice(seeds)) for _ in range(MUTANTS)]
    accepted = sum(compare(text, *answer) for text, answer in zip(texts, CONVERT.many("toml2json", texts)))
    check(accepted > MUTANTS // 20, f"only {accepted} of {MUTANTS} mutants are valid: they prove little")


def check_written(trees):
    """What json2toml writes, tomllib and we read as the tree."""
    written = CONVERT.many("json2toml", [json.dumps(tree).encode() for tree in trees])
    for tree, (toml, reason) in zip(trees, written):
        check(toml is not None, f"{tree!r}: {reason}")
        check(same(parse_oracle(toml.encode())[0], tree), f"tomllib: {tree!r} became\n{toml}")
    again = CONVERT.many("toml2json", [toml.encode() for toml, _ in written])
    for tree, (ours, reason) in zip(trees, again):
        check(ours is not None and same(json.loads(ours), tree), f"{tree!r}: {reason or ours}")


@test("hard strings are written so that tomllib reads them")
def _():
    check_written([{"a": {text: text}} for text in HARD_STRINGS] + [{"a": [[text]]} for text in HARD_STRINGS])


@test("random trees are written so that tomllib reads them")
def _():
    rng = random.Random(SEED)
    check_written([random_object(rng, 5, nulls=False) for _ in range(TREES)])


@test("the filter: output, refusal")
def _():
    check(CONVERT.one("toml2json", b"a = 1") == (0, '{"a":1}', ""), "output")
    check(CONVERT.one("toml2json", b"a = ") == (1, "", "line 1, column 5: expected a value\n"), "refusal")


main()
