"""Runs convert (tests/oracle/convert.c) on many texts at once, and compares values."""

import json
import subprocess


class Convert:
    """convert's modes, by the path of the program."""

    def __init__(self, path):
        self.path = path

    def many(self, mode, texts):
        """One (value, reason) a text: (its output, None), or (None, why it was refused)."""
        data = b"".join(b"%d\n%s" % (len(text), text) for text in texts)
        done = subprocess.run([self.path, mode, "--many"], input=data, stdout=subprocess.PIPE, check=True, timeout=120)
        answers = [json.loads(line) for line in done.stdout.split(b"\n") if line]
        if len(answers) != len(texts):
            raise AssertionError(f"{len(answers)} answers to {len(texts)} texts")
        return [(answer.get("ok"), answer.get("error")) for answer in answers]

    def one(self, mode, text):
        """The filter as a person runs it: (exit status, stdout, stderr)."""
        done = subprocess.run([self.path, mode], input=text, capture_output=True, timeout=20)
        return done.returncode, done.stdout.decode(), done.stderr.decode()


def same(a, b):
    """Equal in value and kind: 1, 1.0 and True differ."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


# Strings that readers might take for something else, or that are hard to quote.
HARD_STRINGS = [
    "", " ", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "y", "Y", "n", "N", "yes", "Yes", "YES",
    "no", "No", "NO", "on", "On", "off", "OFF", "=", "<<", "*", "&", "!", "|", ">", "%", "@", "`", "-", "--", "---",
    "...", "- a", "? a", ": a", "a:", "a: b", "a :b", "a #b", "#a", "a\t#b", "[", "]", "{", "}", "[]", "{}", ",", "\"",
    "'", "''", "'''", "\"\"\"", "\\", "\\n", "\\u0041", "0", "-0", "+1", "007", "08", "0x1F", "0X1f", "0o17", "0O7",
    "0b11", "0B1", "0b-1", "0x_", "0_", "1_000", "_1", "1__0", "1.5", ".5", "5.", "-.5", "+.5", ".1_0", "1e3", "1E3",
    "1e+3", "1.0e+3", "1.e3", "5e75421", ".inf", "-.inf", "+.INF", ".nan", ".NaN", "inf", "nan", "1:30", "1:30:00",
    "-1:30", "1:30.5", "10.0.0.1", "1.2.3", "2001-01-01", "2001-1-1", "2001-01-01T00:00:00Z", "2001-01-01 00:00:00",
    "12:30:00", "99999999999999999999", " a", "a ", "\ta", "a\t", "a\tb", "a\nb", "a\nb\n", "a\n\nb\n\n", "\na", "\n",
    "\n\n", " \n", "a \nb", "a\n b\n", "  a\nb", "a\n\tb", "\ta\nb", "a\t\nb", "a\r\nb", "a\rb", "\r", "---\na",
    "a\n---\nb", "a\n...\n", "# a\nb", "a\n# b", "'''\n", "a\n'''", "a\n''", "a\n'", "\x01", "a\x07\nb", "\x1b", "\x7f",
    "a\x7f\nb", "\x80", "\x85", "a\x85b", "a\x85\nb", "\u2028", "a\u2028\nb", "\u2029", "\ufeff", "a\ufeffb", "\ufffe",
    "\uffff", "\ufffd", "é", "日本\n語\n", "😀", "a\n😀\n", "\U0010ffff", "e\u0301", "\u00a0", "a" * 200,
    "a " * 200, "a\n" * 200, "k" * 127, "k" * 128, "k" * 129, "é" * 128, "key: |\n  text\n", "{\"a\": 1}", "a: 'b'\n",
]


def random_string(rng):
    """Mostly short, of characters that matter to some syntax."""
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(HARD_STRINGS)
    if kind < 0.6:
        return "".join(rng.choice("ab") for _ in range(rng.randint(1, 5)))
    if kind < 0.7:
        return "".join(rng.choice("0123456789_.:eExob+-") for _ in range(rng.randint(1, 7)))
    alphabet = "ab \n\t\"'#:-,[]{}&*!|>%@`?~=\\01.\r\x01\x85\u2028é😀"
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(0, 10)))


def random_number(rng):
    """An int or float that JSON can hold."""
    if rng.random() < 0.5:
        return rng.choice([0, 1, -1, 2**63 - 1, -(2**63), rng.randint(-(10**6), 10**6), rng.getrandbits(60)])
    return rng.choice([0.0, -0.0, 1.0, 0.1, 1e20, 1e-7, 5e-324, 1.7976931348623157e308, 1e16, 123456789.125,
                       rng.uniform(-1e3, 1e3), rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300)])


def random_value(rng, depth, nulls):
    """A JSON tree."""
    kind = rng.random()
    if depth > 0 and kind < 0.25:
        return [random_value(rng, depth - 1, nulls) for _ in range(rng.randint(0, 4))]
    if depth > 0 and kind < 0.55:
        return random_object(rng, depth - 1, nulls)
    if kind < 0.65:
        return random_number(rng)
    if kind < 0.72:
        return rng.random() < 0.5
    if nulls and kind < 0.77:
        return None
    return random_string(rng)


def random_object(rng, depth, nulls):
    """A JSON object."""
    return {random_string(rng): random_value(rng, depth, nulls) for _ in range(rng.randint(0, 5))}


def mutate(rng, text):
    """The bytes with one to three small damages."""
    text = bytearray(text)
    pieces = [b"\n", b"\r\n", b"\r", b" ", b"\t", b"\"", b"'", b"[", b"]", b"{", b"}", b"=", b":", b"-", b"#", b",",
              b".", b"_", b"0", b"1", b"e", b"\\", b"\\u0041", b"\x00", b"\x7f", b"\xff", b"\xc3\xa9", b"'''", b"\"\"\"",
              b"[[", b"]]", b"a", b"&a ", b"*a", b"!!str ", b"? ", b"|", b">"]
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(text))
        what = rng.random()
        if what < 0.4:
            text[at:at] = rng.choice(pieces)
        elif what < 0.7:
            del text[at:at + rng.randint(1, 3)]
        elif what < 0.9:
            text[at:at + 1] = rng.choice(pieces)
        else:
            start = rng.randint(0, len(text))
            text[at:at] = text[start:start + rng.randint(1, 12)]
    return bytes(text)
