#!/bin/bash
# Builds Tekton Pipelines' controller and webhook, for hack/tekton-run.py, and prints the folder in which they are: bin/ and
# Tekton's own manifests, config/. Needs Go (its go.mod says which) and the Go module proxy.
#
# Kept in a cache folder outside the tree (COCO_CACHE, by default ~/.cache/coco-pipelines), so that a machine builds them once:
# 8 minutes of one that has nothing else to do.
set -euo pipefail

version=v1.15.0
module=github.com/tektoncd/pipeline
cache=${COCO_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set it, or COCO_CACHE}/.cache}/coco-pipelines}
root=$cache/tekton-$version
log=$root/build.log

die() {
    printf 'tekton-build: %s\n' "$*" >&2
    exit 1
}

if [ ! -x "$root/bin/controller" ] || [ ! -x "$root/bin/webhook" ]; then
    command -v go >/dev/null || die "there is no go in PATH: install Go first"
    mkdir -p "$root"
    exec 9>"$root/lock"
    flock 9
    rm -rf "$root/src" "$root/config"
    folder=$(cd "$root" && go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
    [ -d "$folder" ] || die "the module $module@$version can't be had"
    cp -r "$folder" "$root/src"
    chmod -R u+w "$root/src"
    printf 'tekton-build: building (its output goes to %s)\n' "$log" >&2
    (cd "$root/src" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false nice go build -ldflags='-s -w' -o "$root/bin/" \
        ./cmd/controller ./cmd/webhook) >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        die "the build failed: see $log"
    }
    mv "$root/src/config" "$root/config"
    rm -rf "$root/src"
fi
echo "$root"
