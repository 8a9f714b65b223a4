#!/usr/bin/env python3
"""Our YAML against PyYAML, and its JSON against Python's json: same acceptance, same values.

Usage: test_yaml_oracle.py CONVERT

PyYAML composes the nodes: an independent implementation of the syntax, of anchors and of folding. What a plain
scalar means is go-yaml's business, see plain_value(); where PyYAML has another opinion, DIFFERENT says why.
"""

import json
import pathlib
import random
import re
import sys

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from many import HARD_STRINGS, Convert, mutate, random_object, random_value, same  # noqa: E402
from tap import check, equal, main, test  # noqa: E402

SEED = 20240602
MUTANTS = 4000
TREES = 1200

# Documents that both read, to the same value.
VALID = {
    "empty": "",
    "only comments": "# a\n\n# b",
    "scalar": "a",
    "block mapping": "a: 1\nb:\n  c: d\n  e:\n    f: g\n",
    "block sequence": "- a\n- b\n-\n  c\n- - d\n  - e\n",
    "sequence not indented below its key": "a:\n- b\n- c\nd: e",
    "sequence indented": "a:\n  - b\n  - c: d\n    e: f\n",
    "flow": "{a: [1, b, {c: d}], e: {}, f: [], 'g': \"h\"}",
    "flow over lines": "a: [\n  1,\n  # c\n  2,\n]\nb: {\n c: d\n}",
    "flow pair in a list": "[a: b, c: d]",
    "JSON-like keys": "{\"a\":1, 'b':2}",
    "quotes": "a: 'it''s'\nb: \"x\\ty\\u00e9\\\"\\\\\\/\"\nc: 'a\n\n  b'\nd: \"a\\\n   b\"",
    "plain over lines": "a: b c\n  d\n\n  e\nf: g",
    "literal": "a: |\n  b\n    c\n\n  d\ne: f",
    "literal kept and stripped": "a: |+\n  b\n\n\nc: |-\n  d\n\ne: |2\n    f\n",
    "folded": "a: >\n  b\n  c\n\n  d\n    e\n  f\ng: >-\n  h\n  i\n",
    "null": "a:\nb: ~\nc: null\nd: Null\ne: ''\n- \n".replace("- \n", ""),
    "booleans": "[yes, Yes, YES, no, on, On, off, OFF, true, True, TRUE, false]",
    "not booleans": "[yEs, nO, oN, tRue, True., 'yes', \"no\"]",
    "integers": "[0, 1, -1, +1, 0x1F, -0x1f, 0b101, 017, 1_000, 9223372036854775807, -9223372036854775808]",
    "reals": "[1.5, -1.5, +1.5, .5, 5., 1.5e+3, 1.5e-3, 1_0.5, 0.0, -0.0]",
    "not numbers": "[1.2.3, 10.0.0.1, 1a, 0x, 0xg, 1-2, +, -, ., .., '1', \"1\", 1.5e, --1, e5, _1]",
    "tags": "[! 12, ! [], !!str 12, !!str , !!int 12, !!float 1.5, !!bool yes, !!null ~, !!null , !!seq [], !!map {}]",
    "tag handle": "%TAG !e! tag:yaml.org,2002:\n---\n!e!str 12",
    "verbatim tag": "!<tag:yaml.org,2002:str> 12",
    "version": "%YAML 1.1\n---\na: b",
    "anchors": "a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n",
    "anchor of a key, alias as a key": "&a a: 1\nb: *a\n*a : {*a : 2}\n".replace("*a : {*a : 2}\n", "c: {*a : 2}\n"),
    "anchor of nothing": "a: &x\nb: *x",
    "complex keys": "? a\n: b\n? |\n  c\n: d\n? e\n",
    "documents": "---\na: 1\n---\nb: 2\n...\n---\nc\n",
    "empty documents": "---\n---\na\n---\n# b\n---\n...\n",
    "document that is null": "--- ~\n--- null\n--- ''\n",
    "anchors end with their document": "--- &a 1\n--- &a 2",
    "comment": "a: b # c\nd: e#f\n'g' : h   # i\n#\n",
    "colons": "a: b:c\nd: http://e/f?g\nh: :i\n",
    "unicode": "ключ: значение\nf: 日本語 😀\n\"\\U0001F600\": \"\\x41\"",
    "DOS line ends": "a: b\r\nc:\r\n  - d\r\ne: |\r\n  f\r\n  g\r\n",
    "byte order mark": "\ufeffa: b",
    "indicators inside": "a: b-c\nd: e?f\ng: h!i\nj: k&l*m\np: o%p@q`r",
    "key of quotes": "\"a b\": 1\n'c: d': 2\n",
    "long plain": "a: " + "b " * 2000 + "\n",
    "k8s": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {app.kubernetes.io/name: b}\ndata:\n  c.toml: |\n"
           "    d = 'e'\n\n    [f]\n  g: \"8080\"\n",
}

# Documents that both refuse.
INVALID = {
    "tab as indentation": "a:\n\tb: c",
    "unclosed list": "[a",
    "unclosed mapping": "{a: b",
    "unclosed quote": "a: \"b",
    "mapping in a plain value": "a: b: c",
    "wrong indentation": "a:\n  b: c\n d: e",
    "sequence in a mapping": "a: b\n- c",
    "unknown escape": "\"\\q\"",
    "unknown alias": "a: *b",
    "alias to itself": "a: &x [*x]\n".replace("&x [*x]", "*x"),
    "alias from the document before": "--- &a 1\n--- *a",
    "unknown directive handle": "!x!y z",
    "tag that is not ours": "!foo bar",
    "binary": "!!binary aGVsbG8=",
    "set": "!!set {a, b}",
    "key twice": "a: 1\nb: 2\na: 3",
    "key twice, quoted": "{a: 1, 'a': 2}",
    "integer as key": "8080: a",
    "boolean as key": "on: a",
    "null as key": "~: a",
    "list as key": "[a]: b",
    "merge": "a: &a {b: c}\nd:\n  <<: *a",
    "wrong type for !!int": "!!int a",
    "wrong type for !!bool": "!!bool 1",
    "wrong kind for !!str": "!!str [a]",
    "wrong kind for !!map": "!!map a",
    "infinity": "a: .inf",
    "not a number": "a: .NaN",
    "integer of 65 bits": "a: 18446744073709551616",
    "integer of 64 bits without sign": "a: 9223372036854775808",
    "control character": "a: \"\x01\"",
    "at sign first": "a: @b",
    "backtick first": "`a`",
    "percent first in a document": "--- \n%a",
    "text after a quote": "a: \"b\" c",
    "text after a list": "a: [b] c",
}

# Plain scalars where we follow go-yaml, with ours and PyYAML's values.
DIFFERENT = [
    ("y", True, "y", "YAML 1.1 has y and n as booleans, PyYAML leaves them out"),
    ("N", False, "N", "as y"),
    ("0o17", 15, "0o17", "octal of YAML 1.2, go-yaml reads both"),
    ("0X1F", 31, "0X1F", "Go's strconv takes prefixes in capitals"),
    ("0B11", 3, "0B11", "as 0X1F"),
    ("0x_1f", 31, 31, "no difference: underscores anywhere"),
    ("1e3", 1000.0, "1e3", "PyYAML wants a point and a sign in the exponent, YAML 1.2 and go-yaml do not"),
    ("1E3", 1000.0, "1E3", "as 1e3"),
    ("1.5e3", 1500.0, "1.5e3", "as 1e3"),
    ("+.5", 0.5, "+.5", "PyYAML has no sign there"),
    ("08", 8.0, "08", "not octal, hence go-yaml tries a float"),
    ("1:30", "1:30", 90, "sexagesimal numbers are in YAML 1.1 only, go-yaml has none"),
    ("1:30.5", "1:30.5", 90.5, "as 1:30"),
    ("5e75421", "5e75421", "5e75421", "no difference: out of range is text"),
    (".5_", ".5_", 0.5, "Go wants digits on both sides of an underscore after a leading point"),
]

RESOLVE = {word: value
           for value, words in ((True, "y yes true on"), (False, "n no false off"))
           for base in words.split() for word in (base, base.capitalize(), base.upper())}
RESOLVE.update({word: None for word in ("", "~", "null", "Null", "NULL")})
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
INTEGERS = [(re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)"), 16), (re.compile(r"([-+]?)0[bB]([01]+)"), 2),
            (re.compile(r"([-+]?)0[oO]?([0-7]+)"), 8), (re.compile(r"([-+]?)(0|[1-9][0-9]*)"), 10)]
REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class Refused(Exception):
    """What PyYAML takes and we do not."""


def plain_value(text):
    """What sigs.k8s.io/yaml makes of a plain scalar, from the rules of its resolve.go."""
    if text in RESOLVE:
        return RESOLVE[text]
    if NOT_FINITE.fullmatch(text):
        raise Refused("not finite")
    if not re.match(r"[-+.0-9]", text):
        return text
    digits = text.replace("_", "")
    if text.startswith("."):
        if re.search(r"(?<![0-9])_|_(?![0-9])", text):
            return text
    else:
        for pattern, base in INTEGERS:
            if match := pattern.fullmatch(digits):
                value = int(match[1] + match[2], base)
                if not -(2**63) <= value < 2**63:
                    raise Refused("more than 64 bits")
                return value
    if REAL.fullmatch(digits) and abs(float(digits)) != float("inf"):
        return float(digits)
    return text


TAGS = {"str": str, "int": int, "bool": bool, "float": float, "null": type(None)}


def scalar_value(node):
    """The value of a scalar node. Its tag is the raw one: see Composer."""
    if node.tag is None:
        value = plain_value(node.value) if node.style is None else node.value
    elif node.tag in ("!", "tag:yaml.org,2002:str"):
        value = node.value
    else:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        value = plain_value(node.value)
        if kind == "float" and type(value) is int:
            value = float(value)
        if kind == node.tag or kind not in TAGS or type(value) is not TAGS[kind]:
            raise Refused(f"tag {node.tag}")
    if isinstance(value, str) and "\0" in value:
        raise Refused("NUL")
    return value


def mapping_value(node):
    """The value of a mapping node."""
    if node.tag not in (None, "!", "tag:yaml.org,2002:map"):
        raise Refused(f"tag {node.tag}")
    made = {}
    for key_node, item in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge" or (key_node.tag, key_node.value) == (None, "<<") and \
                key_node.style is None:
            raise Refused("merge")
        key = node_value(key_node)
        if not isinstance(key, str) or key in made:
            raise Refused(f"key {key}")
        made[key] = node_value(item)
    return made


def node_value(node):
    """The tree of a node, or Refused."""
    if isinstance(node, yaml.ScalarNode):
        return scalar_value(node)
    if isinstance(node, yaml.MappingNode):
        return mapping_value(node)
    if node.tag not in (None, "!", "tag:yaml.org,2002:seq"):
        raise Refused(f"tag {node.tag}")
    return [node_value(item) for item in node.value]


class Loader(yaml.SafeLoader):
    """Composes without resolving: a node without tag gets None."""

    def resolve(self, kind, value, implicit):
        return None

    # PyYAML resolves what has the tag "!", although that tag says not to.
    def compose_scalar_node(self, anchor):
        tag = self.peek_event().tag
        node = super().compose_scalar_node(anchor)
        node.tag = tag
        return node

    def descend_resolver(self, current_node, current_index):
        pass

    def ascend_resolver(self):
        pass

    # PyYAML refuses a second anchor of one name, which YAML allows: the later one counts from then on.
    def compose_node(self, parent, index):
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)
        return super().compose_node(parent, index)


def parse_oracle(text):
    """PyYAML's documents by go-yaml's rules, or None and why not."""
    try:
        loader = Loader(text.decode())
        values = []
        while loader.check_node():
            node = loader.get_node()
            if not (isinstance(node, yaml.ScalarNode) and node.style is None and node.value == "" and node.tag is None
                    and node.start_mark.index == node.end_mark.index):
                values.append(node_value(node))
        return values, None
    except (yaml.YAMLError, Refused, UnicodeDecodeError, RecursionError) as error:
        return None, f"{type(error).__name__}: {error}"
    except (ValueError, IndexError, TypeError) as error:  # PyYAML's own slips, such as \U99999999
        return None, f"{type(error).__name__}: {error}"


# Where the two parsers differ in syntax, by what the text has in it and the reason.
SYNTAX_DIFFERENCES = [
    (rb"\t", "PyYAML takes no tab between tokens, YAML and libyaml do"),
    (rb"(?m)^%(?!YAML |TAG )", "libyaml refuses directives that it does not know, PyYAML skips them"),
    (rb"[|>][-+0-9]*#", "libyaml takes a comment right after a block's indicator"),
    (rb"[\[{][^\0]*\?\s", "libyaml takes '? ' for text in the middle of a plain scalar in a list, PyYAML does not"),
    (rb"[\[{][^\0]*:[\],}]", "libyaml refuses a plain scalar that ends in ':' in a list, PyYAML takes it for a key"),
    (rb"!\S*,", "libyaml ends a tag at a comma, PyYAML does not"),
    (rb"(?s).\xef\xbb\xbf", "libyaml skips byte order marks at the start of a line"),
    (rb"\\[uU]", "PyYAML makes characters of half surrogate pairs, libyaml refuses them"),
]


def known_difference(text):
    """Why the two may differ on this text, or None."""
    for pattern, reason in SYNTAX_DIFFERENCES:
        if re.search(pattern, text):
            return reason
    return None


def compare(text, ours, reason):
    """Fails when the two readers differ; true when both took the text."""
    theirs, their_reason = parse_oracle(text)
    alike = (theirs is None) == (ours is None) and (theirs is None or same(json.loads(ours), theirs))
    if not alike and known_difference(text):
        return False
    check(alike, f"{text!r}\n  ours:   {reason or ours}\n  PyYAML: {their_reason or theirs}")
    return theirs is not None


CONVERT = Convert(sys.argv.pop(1))


def define_document(name, text, valid):
    """One row of the tables."""

    @test(f"{'valid' if valid else 'invalid'}: {name}")
    def _():
        [(ours, reason)] = CONVERT.many("yaml2json", [text.encode()])
        check((ours is not None) == valid, f"{text!r}: {reason or ours}")
        compare(text.encode(), ours, reason)
        if not valid:
            check(re.match(r"line \d+, column \d+: ", reason), f"no place in: {reason}")


def define_difference(scalar, ours, theirs, reason):
    """One row of DIFFERENT."""

    @test(f"differs from PyYAML: {scalar} ({reason})")
    def _():
        [(got, refusal)] = CONVERT.many("yaml2json", [f"a: {scalar}".encode()])
        check(got is not None and same(json.loads(got), [{"a": ours}]), f"ours: {refusal or got}")
        equal(yaml.safe_load(f"a: {scalar}")["a"], theirs, "PyYAML's")
        check(same(plain_value(scalar), ours), "plain_value() of this test")


for row_name, row_text in VALID.items():
    define_document(row_name, row_text, True)
for row_name, row_text in INVALID.items():
    define_document(row_name, row_text, False)
for row in DIFFERENT:
    define_difference(*row)


@test("differs from PyYAML: timestamps (go-yaml has them as text where any value may be)")
def _():
    texts = ["2001-12-14", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43.10 -5", "2001-1-1", "2001-99-99"]
    for text, (ours, _) in zip(texts, CONVERT.many("yaml2json", [text.encode() for text in texts])):
        equal(json.loads(ours), [text], "ours")


@test("plain scalars mean what go-yaml's rules say")
def _():
    rng = random.Random(SEED)
    alphabet = "0123456789_xXoObBeE+-.aF"
    scalars = ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 7))) for _ in range(20000)]
    scalars += [rng.choice(["", "+", "-"]) + rng.choice(["0x", "0b", "0o", "0", "1.", "."]) +
                "".join(rng.choice("01234567_.e") for _ in range(rng.randint(0, 6))) for _ in range(10000)]
    for scalar, (ours, reason) in zip(scalars, CONVERT.many("yaml2json", [f"'': {s}".encode() for s in scalars])):
        try:
            want = [{"": plain_value(scalar)}]
        except Refused:
            want = None
        if scalar == "-" or scalar[0] == "-" and want is None and ours is None:
            continue
        check(same(want, ours and json.loads(ours)), f"{scalar}: {reason or ours}, expected {want}")


@test("mutated documents read the same")
def _():
    rng = random.Random(SEED)
    seeds = [text.encode() for text in [*VALID.values(), *INVALID.values()] if 0 < len(text) < 300]
    texts = [mutate(rng, rng.choice(seeds)) for _ in range(MUTANTS)]
    accepted = 0
    for text, answer in zip(texts, CONVERT.many("yaml2json", texts)):
        accepted += compare(text, *answer)
    check(accepted > MUTANTS // 5, f"only {accepted} of {MUTANTS} mutants are valid: they prove little")


def reject_duplicates(pairs):
    """json's dict, but each key once."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("duplicate")
    return made


def refuse_constant(name):
    """NaN and Infinity are not JSON."""
    raise ValueError(name)


JSON_VALID = {
    "escapes": r'{"a": "\"\\\/\b\f\n\r\t\u00e9"}',
    "surrogate pair": r'["\ud83d\ude00", "\uD83D\uDE00"]',
    "tabs as indentation": "{\n\t\"a\": [\n\t\t1,\n\t\t2\n\t]\n}",
    "no spaces": '{"a":1,"b":[{"c":"d"},null,true,false]}',
    "numbers": "[0, -0, 1.5, 1e3, 1E+3, -1.5e-3, 9223372036854775807, -9223372036854775808]",
    "words stay strings": '["yes", "no", "null", "~", "0x1F", "1e3", "2001-01-01", ""]',
    "keys that YAML resolves": '{"8080": 1, "on": 2, "null": 3, "": 4, "<<": 5, "=": 6}',
    "after blank lines": "\n\n  {\"a\": 1}\n\n",
    "raw DEL": '["\x7f"]',
    "line separators": '["\u2028\u2029\x85"]',
}


def define_json(name, text):
    """One row of JSON_VALID."""

    @test(f"JSON: {name}")
    def _():
        [(ours, reason)] = CONVERT.many("yaml2json", [text.encode()])
        check(ours is not None and same(json.loads(ours), [json.loads(text)]), f"{text}: {reason or ours}")


for row_name, row_text in JSON_VALID.items():
    define_json(row_name, row_text)


@test("JSON that Python takes reads the same, mutants included")
def _():
    rng = random.Random(SEED)
    texts = [json.dumps(random_object(rng, 3, nulls=True), ensure_ascii=rng.random() < 0.5,
                        indent=rng.choice([None, 1, "\t"])).encode() for _ in range(TREES)]
    texts += [mutate(rng, text) for text in texts]
    compared = 0
    for text, (ours, reason) in zip(texts, CONVERT.many("yaml2json", texts)):
        try:
            want = json.loads(text.decode(), object_pairs_hook=reject_duplicates, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            continue  # perhaps YAML
        if not isinstance(want, (dict, list)):
            continue
        out_of_range = re.search(rb"[0-9]{19}|e[+-]?[0-9]{3}|\\u0000|\\u[dD][89a-fA-F]", text)
        if out_of_range and ours is None:
            continue  # integers beyond 64 bits, U+0000 and half surrogate pairs
        compared += 1
        check(ours is not None and same(json.loads(ours), [want]), f"{text!r}: {reason or ours}")
    check(compared > TREES, "too few JSON texts")


def check_written(trees):
    """What json2yaml writes, PyYAML and we read as the tree."""
    written = CONVERT.many("json2yaml", [json.dumps(tree).encode() for tree in trees])
    for tree, (text, reason) in zip(trees, written):
        check(text is not None, f"{tree!r}: {reason}")
        try:
            theirs = yaml.safe_load(text)
        except yaml.YAMLError as error:
            theirs = error
        check(same(theirs, tree), f"PyYAML: {tree!r} became\n{text}\n{theirs!r}")
    again = CONVERT.many("yaml2json", [text.encode() for text, _ in written])
    for tree, (ours, reason) in zip(trees, again):
        check(ours is not None and same(json.loads(ours), [tree]), f"{tree!r}: {reason or ours}")


@test("hard strings are written so that PyYAML reads them")
def _():
    check_written([tree for text in HARD_STRINGS for tree in (
        text, [text], {text: text}, {"a": [text, {"b": text}], "c": [[text], text], "d": text})])


@test("random trees are written so that PyYAML reads them")
def _():
    rng = random.Random(SEED)
    check_written([random_value(rng, 5, nulls=True) for _ in range(TREES)])


@test("the filter: output, refusal")
def _():
    check(CONVERT.one("yaml2json", b"a: 1") == (0, '[{"a":1}]', ""), "output")
    status, out, reason = CONVERT.one("yaml2json", b"a: 1\na: 2")
    check((status, out, reason) == (1, "", 'line 2, column 1: key "a" is in line 1 already\n'), reason)


main()
