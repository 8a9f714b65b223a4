#!/usr/bin/env bash
# Builds the programs for arm64 on a machine of another architecture, into build/arm64/bin: with Debian's cross compiler, and
# libraries of arm64 in a folder of the cache, so that the machine's own packages stay what they are. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/deps.sh build images cross
sysroot=$(hack/sysroot.py arm64)
make --no-print-directory -j"$(nproc)" VARIANT=arm64 CC="aarch64-linux-gnu-gcc --sysroot=$sysroot" build
