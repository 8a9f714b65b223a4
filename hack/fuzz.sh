#!/usr/bin/env bash
# Runs each fuzz target under clang's libFuzzer with AddressSanitizer and UBSan, FUZZ_SECONDS each (60), from the corpora
# in tests/fuzz/corpus. New inputs go to build/fuzz/corpus; a crash leaves its input in build/fuzz and exits 1.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
make --no-print-directory build >/dev/null
mkdir -p build/fuzz
sources=(common/*.c common/kube/*.c)
for f in webhook/*.c; do
	[ "$f" = webhook/main.c ] || sources+=("$f")
done
for target in tests/fuzz/fuzz_*.c; do
	name=$(basename "$target" .c)
	name=${name#fuzz_}
	echo "$name: building"
	clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -D_GNU_SOURCE -I. -Ibuild/gen -include common/banned.h \
		-o "build/fuzz/$name" "$target" "${sources[@]}" -lmicrohttpd -lgnutls -lyaml -ljansson -lz -lcurl -lwebsockets -lssl -lcrypto -lpthread -lm
	mkdir -p "build/fuzz/corpus/$name"
	echo "$name: running $seconds s"
	"build/fuzz/$name" -max_total_time="$seconds" -max_len=65536 -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
		"build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" >"build/fuzz/$name.log" 2>&1 || { tail -30 "build/fuzz/$name.log"; exit 1; }
	grep -E 'number_of_executed_units|peak_rss' "build/fuzz/$name.log"
done
