#!/usr/bin/env bash
# All tests from nothing: installs what is missing, builds the programs and their sanitized twins, a Kubernetes API server
# where there is none in the cache yet, then runs the suites. Safe to run again. Arguments go to tests/run.py.
set -euo pipefail
cd "$(dirname "$0")/.."

case " $* " in
*" --quick "*) quick=1 ;;
*) quick= ;;
esac

hack/deps.sh build test images
kube_log=build/test-logs/kube-build.log
mkdir -p build/test-logs
kube=
if [ -z "$quick" ]; then
	# The first time takes minutes: beside our own compilation, with its words in a log.
	echo "Seeing to a Kubernetes API server for the end-to-end tests (the first time about 10 minutes; see $kube_log)"
	hack/kube-build.sh kube-apiserver kube-controller-manager >"$kube_log" 2>&1 &
	kube=$!
	trap 'kill "$kube" 2>/dev/null || true' EXIT
fi

echo "Building the programs, and again with sanitizers (about 2 minutes the first time)"
make --no-print-directory -j"$(nproc)" build >build/test-logs/build.log 2>&1 || { cat build/test-logs/build.log; exit 1; }
make --no-print-directory -j"$(nproc)" asan >build/test-logs/asan.log 2>&1 || { cat build/test-logs/asan.log; exit 1; }
mapfile -t threaded < <(grep -l pthread tests/unit/test_*.c | sed 's|\(.*\)\.c$|build/tsan/\1|')
make --no-print-directory -j"$(nproc)" VARIANT=tsan build/tsan/tests/{echo_server,kube_call,watch_probe,informer_probe} "${threaded[@]}" >build/test-logs/tsan.log 2>&1 ||
	{ cat build/test-logs/tsan.log; exit 1; }

if [ -n "$kube" ]; then
	wait "$kube" || { tail -20 "$kube_log"; echo "There is no API server, so the end-to-end suites will fail."; }
	trap - EXIT
fi
tests/run.py "$@"
