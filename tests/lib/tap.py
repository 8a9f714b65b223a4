"""A test program in a few lines: cases in order of definition, results as TAP on stdout.

    from tap import check, equal, main, test

    @test("one and one are two")
    def _():
        equal(1 + 1, 2, "the sum")

    main()

A case passes when it returns and fails when it raises; there are no skips: what can't run fails. What a case prints
comes out as comment lines ("# ..."). Output of programs that it starts is not caught: give them files or pipes.
`-k SUBSTRING` runs the cases whose name contains it; the exit status is 1 when any failed.
"""

import argparse
import contextlib
import io
import sys
import traceback

_cases = []


class Failed(AssertionError):
    """What a test found wrong."""


def test(name):
    """Registers the decorated function as a test case."""

    def register(function):
        _cases.append((name, function))
        return function

    return register


def check(condition, message):
    """Fails with the message unless the condition holds."""
    if not condition:
        raise Failed(message)


def equal(got, want, what):
    """Fails unless both values are equal, and shows both."""
    check(got == want, f"{what} differs\n   got: {got!r}\n  want: {want!r}")


class _Comments(io.TextIOBase):
    """Writes each line as a TAP comment, as soon as it is complete."""

    def __init__(self, out):
        self.out = out
        self.rest = ""

    def writable(self):
        return True

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            print(f"# {line}".rstrip(), file=self.out, flush=True)
        return len(text)

    def end_line(self):
        if self.rest:
            self.write("\n")


@contextlib.contextmanager
def _prints_as_comments():
    comments = _Comments(sys.stdout)
    with contextlib.redirect_stdout(comments), contextlib.redirect_stderr(comments):
        try:
            yield
        finally:
            comments.end_line()


def _failure(function, arguments):
    """Runs one case; returns what it raised, or None."""
    try:
        with _prints_as_comments():
            function(*arguments)
    except Exception as error:
        return error
    return None


def _run(cases, arguments):
    """Runs the cases and returns how many failed."""
    failed = 0
    for number, (name, function) in enumerate(cases, 1):
        error = _failure(function, arguments)
        print(f"{'not ok' if error else 'ok'} {number} - {name}", flush=True)
        if error:
            failed += 1
            with _prints_as_comments():
                traceback.print_exception(error)
    return failed


def main(fixture=None):
    """Runs the registered cases and exits.

    fixture: a context manager entered once around all cases; each case gets what it yields as its argument.
    """
    parser = argparse.ArgumentParser(description="Runs test cases, reports as TAP.")
    parser.add_argument("-k", metavar="SUBSTRING", default="", help="run only the cases whose name contains this")
    wanted = parser.parse_args().k
    cases = [case for case in _cases if wanted in case[0]]
    if not cases:
        parser.error(f"no case's name contains '{wanted}'")
    print(f"1..{len(cases)}", flush=True)
    try:
        with contextlib.ExitStack() as stack:
            arguments = ()
            if fixture is not None:
                with _prints_as_comments():
                    arguments = (stack.enter_context(fixture),)
            failed = _run(cases, arguments)
    except Exception as error:  # of the fixture: no case can say anything, and TAP has a line for that
        with _prints_as_comments():
            traceback.print_exc()
        print(f"Bail out! {str(error).splitlines()[0] if str(error) else type(error).__name__}", flush=True)
        sys.exit(1)
    sys.exit(1 if failed else 0)
