#!/usr/bin/env bash
# Who may include whom. common: only common. webhook, controller: common and themselves, never each other. cli: all.
# A file whose header says PURE touches no socket, file or clock.
set -euo pipefail
cd "$(dirname "$0")/.."

bad=0
complain() { echo "$1: includes $2: $3" >&2; bad=1; }

ours() { grep -oE '^#include "[^"]+"' "$1" | cut -d'"' -f2 | grep -v '^gen/' || true; }

for f in common/*.[ch] common/kube/*.[ch] webhook/*.[ch] controller/*.[ch] cli/*.[ch]; do
	[ -f "$f" ] || continue
	from=${f%%/*}
	for i in $(ours "$f"); do
		[ -f "$i" ] || complain "$f" "$i" "no such file from the root of the tree"
		case "$from:${i%%/*}" in
		common:common | webhook:common | webhook:webhook | controller:common | controller:controller | cli:*) ;;
		*) complain "$f" "$i" "$from may not" ;;
		esac
	done
done

mapfile -t pure < <(grep -lE '^// .*PURE$' common/*.h common/kube/*.h webhook/*.h controller/*.h 2>/dev/null)
for h in "${pure[@]}"; do
	for f in "$h" "${h%.h}.c" "${h%.h}_read.c" "${h%.h}_write.c" "${h%.h}_lint.c"; do
		[ -f "$f" ] || continue
		for i in unistd.h time.h fcntl.h dirent.h pthread.h sys/socket.h curl/curl.h microhttpd.h libwebsockets.h; do
			! grep -q "^#include <$i>" "$f" || complain "$f" "<$i>" "its header says PURE"
		done
	done
done
exit $bad
