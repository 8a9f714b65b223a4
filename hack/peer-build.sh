#!/bin/bash
# Builds programs of others that ours work with, for the runs by hand (hack/tekton-run.py, hack/cert-manager-run.py), and prints
# the folder in which they are: bin/, and config/ with their own manifests. Needs Go and the Go module proxy.
#
#     hack/peer-build.sh tekton|cert-manager
#
# Kept in a cache folder outside the tree (COCO_CACHE, by default ~/.cache/coco-pipelines), so that a machine builds them once:
# up to 10 minutes of one that has nothing else to do.
set -euo pipefail

die() {
    printf 'peer-build: %s\n' "$*" >&2
    exit 1
}

case ${1:-} in
tekton)
    version=v1.15.0
    module=github.com/tektoncd/pipeline
    programs=(controller webhook)
    manifests=config
    ;;
cert-manager)
    version=v1.11.5 # later ones have their programs in modules that the proxy doesn't serve
    module=github.com/cert-manager/cert-manager
    programs=(controller cainjector)
    manifests=deploy/crds
    ;;
*) die "say what to build: tekton or cert-manager" ;;
esac
cache=${COCO_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set it, or COCO_CACHE}/.cache}/coco-pipelines}
root=$cache/$1-$version
log=$root/build.log

if [ ! -d "$root/config" ]; then
    command -v go >/dev/null || die "there is no go in PATH: install Go first"
    mkdir -p "$root"
    exec 9>"$root/lock"
    flock 9
    rm -rf "$root/src"
    folder=$(cd "$root" && go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
    [ -d "$folder" ] || die "the module $module@$version can't be had"
    cp -r "$folder" "$root/src"
    chmod -R u+w "$root/src"
    printf 'peer-build: building %s (its output goes to %s)\n' "$1" "$log" >&2
    (cd "$root/src" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false nice go build -ldflags='-s -w' -o "$root/bin/" \
        "${programs[@]/#/./cmd/}") >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        die "the build failed: see $log"
    }
    mv "$root/src/$manifests" "$root/config"
    rm -rf "$root/src"
fi
echo "$root"
