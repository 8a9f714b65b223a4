#!/bin/bash
# Prints the path of promtool, Prometheus' own checker of rules and metrics, and fetches it first if need be:
#
#   "$(hack/promtool.sh)" check rules FILE
#
# It is taken out of Debian's package prometheus, which isn't installed: that would start a server, and bring its web pages.
# It lives in a cache folder outside the tree (COCO_CACHE, by default ~/.cache/coco-pipelines). Only the path goes to stdout.
set -euo pipefail

cache=${COCO_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set it, or COCO_CACHE}/.cache}/coco-pipelines}
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac
promtool=$cache/promtool/usr/bin/promtool

exec 3>&1 >&2 # what the tools print is no path
mkdir -p -- "$cache"
exec 9>"$cache/promtool.lock"
flock 9
if [ ! -x "$promtool" ]; then
    new=$(mktemp -d -- "$cache/promtool.XXXXXX")
    trap 'rm -rf -- "$new"' EXIT
    chmod 755 "$new"
    cd -- "$new"
    if ! apt-get -qq download prometheus 2>/dev/null; then
        as_root=()
        [ "$(id -u)" = 0 ] || as_root=(sudo)
        "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=600 update
        apt-get -qq download prometheus
    fi
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - ./usr/bin/promtool
    rm -- prometheus_*.deb
    rm -rf -- "$cache/promtool"
    mv -- "$new" "$cache/promtool"
    trap - EXIT
fi
echo "$promtool" >&3
