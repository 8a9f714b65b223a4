#!/usr/bin/env bash
# Line coverage of common/, webhook/ and cli/ by the unit tests, the fuzz corpora, the goldens and the command-line tests.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf build/coverage
make --no-print-directory -j"$(nproc)" VARIANT=coverage test-programs >/dev/null
python=$(hack/pyenv.sh)
for t in build/coverage/tests/unit/test_*; do
	[ -x "$t" ] || continue
	"$t" >/dev/null 2>&1 || echo "failed: $t" >&2
done
for t in build/coverage/tests/fuzz/fuzz_*; do
	"$t" "tests/fuzz/corpus/${t##*fuzz_}" >/dev/null 2>&1 || echo "failed: $t" >&2
done
"$python" tests/golden/run.py build/coverage/bin/cocopipe >/dev/null || echo "failed: golden" >&2
"$python" tests/cli/test_cli.py build/coverage/bin/cocopipe >/dev/null || echo "failed: cli" >&2
"$python" tests/corpus/test_corpus.py build/coverage/bin/cocopipe build/coverage/bin/coco-webhook >/dev/null ||
	echo "failed: corpus" >&2
gcovr --root . --gcov-ignore-parse-errors --object-directory build/coverage/obj --filter 'common/' --filter 'webhook/' --filter 'cli/'
