#!/usr/bin/env bash
# The static checks, each with a line of its own; exit 1 where one finds something. `make check` installs the tools.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

failed=0
step() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "ok    $name"
	else
		echo "FAIL  $name"
		printf '%s\n' "$out" | head -80 | sed 's/^/      /'
		failed=1
	fi
}

mapfile -t sources < <(git ls-files '*.c' '*.h')
mapfile -t programs < <(git ls-files 'common/*.c' 'webhook/*.c' 'controller/*.c' 'cli/*.c')
mapfile -t scripts < <(git ls-files 'hack/*.sh' '.ci/run')
flags=(-std=gnu17 -D_GNU_SOURCE -I. -Ibuild/gen -include common/banned.h)

# shellcheck disable=SC2317 # step calls these by name
tidy() {
	# shellcheck disable=SC2016 # the inner shell expands it
	printf '%s\n' "${programs[@]}" | xargs -P "$(nproc)" -I{} sh -c \
		'out=$(clang-tidy --quiet "$1" -- '"${flags[*]}"' 2>&1) || { printf "%s\n" "$out" | grep -v "warnings generated"; exit 1; }' _ {}
}
# shellcheck disable=SC2317
machine_paths() {
	local parent
	parent=$(dirname "$PWD")
	# A checkout in /tmp or / says nothing: those names stand in scripts by right.
	[ "$parent" = / ] || [ "$parent" = /tmp ] || ! git grep -nIF -e "$parent/" -- .
}
# A letter in brackets keeps a pattern from finding itself.
# shellcheck disable=SC2317
keys() { ! git grep -lI -e '-----BEGIN .*PRIVATE KE[Y]-----' -- . ':!*.c' ':!*.h' ':!*.md'; }
# shellcheck disable=SC2317
unfinished() { ! git grep -nE '\b(TOD[O]|FIXM[E]|XX[X])\b' -- '*.c' '*.h' '*.sh' '*.py'; }
# shellcheck disable=SC2317
large() { ! git ls-files -z '*.c' '*.h' | xargs -0 wc -l | awk '$2 != "total" && $1 > 900' | grep .; }

make --no-print-directory build >/dev/null || exit 1
step "include rule" hack/check-includes.sh
step "format" clang-format --dry-run --Werror "${sources[@]}"
step "clang-tidy" tidy
step "cppcheck" cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
	--suppress=missingIncludeSystem --suppress=ctuuninitvar --suppress=ctuPointerArith -D_GNU_SOURCE -I. -Ibuild/gen --std=c11 "${programs[@]}"
step "shellcheck" shellcheck "${scripts[@]}"
step "spelling" codespell --skip='./tests/data,./build,./.git' -L 'ot,fo,te,ans,crate,rouge,uptodate' common webhook controller cli hack docs README.md crds manifests
step "no path of this machine" machine_paths
step "no private key" keys
step "nothing left open" unfinished
step "no file above 900 lines" large
exit $failed
