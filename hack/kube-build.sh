#!/bin/bash
# Builds Kubernetes 1.20 servers for the end-to-end tests from Debian 12's source package.
#
#   hack/kube-build.sh kube-apiserver [kube-controller-manager]   build what is missing, print the paths
#   hack/kube-build.sh --path                                     print the folder of the binaries, build nothing
#
# The tests need a real API server, and Debian packages none as a binary; its source package carries the whole
# tree with all modules, so this needs nothing but Debian's own archive. The binaries live in a cache folder
# outside the tree (COCO_CACHE, by default ~/.cache/coco-pipelines), so that a machine builds them once.
# Only paths go to stdout.
set -euo pipefail

version=1.20.2
cache=${COCO_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set it, or COCO_CACHE}/.cache}/coco-pipelines}
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac
root=$cache/kube-$version
bin=$root/bin
work=$root/work
log=$root/build.log
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'kube-build: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

# logged COMMAND...: its output goes to the log; when it fails, the log's end says why.
logged() {
    "$@" >>"$log" 2>&1 && return
    tail -n 30 "$log" >&2
    die "this failed: $* (above is the end of $log; run the script again when the cause is mended)"
}

need_debian_12() {
    local machine
    # shellcheck disable=SC1091  # the machine's file
    machine=$(. /etc/os-release && echo "${ID-} ${VERSION_ID-}") || machine=unknown
    [ "$machine" = 'debian 12' ] ||
        die "this machine is '$machine', but only Debian 12 packages the sources of the API server:" \
            "run this script on Debian 12 (a container will do) and copy $bin from there to here;" \
            "etcd and kubectl must be in PATH too"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root rights are needed for: $* (run that as root, or install sudo)"
    fi
}

# Waits for other runs of apt. The lock's descriptor is closed, as a daemon that a package starts would keep it.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@" >&2 9>&-
}

install_packages() {
    local package missing=()
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing packages: ${missing[*]}"
    apt_get update
    apt_get install -y --no-install-recommends "${missing[@]}"
}

# The programs the tests start besides our own: from the machine, else from Debian.
install_tools() {
    local packages=()
    command -v etcd >/dev/null || packages+=(etcd-server)
    command -v kubectl >/dev/null || packages+=(kubernetes-client)
    install_packages "${packages[@]}"
}

# Debian 12's entries of the machine's apt sources, as deb-src lines. apt itself reads its files here, so that each
# format and option of theirs is understood; origin and code name are what the signed Release file says.
source_entries() {
    # shellcheck disable=SC2016  # apt fills in these, not the shell
    apt-get indextargets \
        --format '$(ORIGIN)|$(COMPONENT)|$(CODENAME)|deb-src [signed-by='"$keyring"'] $(REPO_URI) $(RELEASE) main' \
        'Created-By: Packages' | sed -n 's/^Debian|main|bookworm[^|]*|//p' | sort -u
}

# Gets and unpacks the source package. A private APT_CONFIG keeps all this away from the system's apt.
unpack_source() {
    local apt=$work/apt
    mkdir -p "$apt"/{lists/partial,cache/archives/partial,sources.d}
    [ -n "$(source_entries)" ] || apt_get update # a fresh image has no lists yet
    source_entries >"$apt/sources.d/debian.list"
    [ -s "$apt/sources.d/debian.list" ] ||
        die "apt's sources name no archive of Debian 12 with 'main': add one in /etc/apt, run apt-get update"
    cat >"$apt/apt.conf" <<END
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources.d";
// apt's own user can't enter a private cache folder
APT::Sandbox::User "$(id -un)";
END
    export APT_CONFIG=$apt/apt.conf
    say "getting the source package kubernetes (a minute)"
    logged apt-get update
    (cd "$work" && logged apt-get source kubernetes)
    unset APT_CONFIG
    mv "$work"/kubernetes-*/ "$work/src"
}

build() {
    local program what=() out=$work/src/_output/bin
    for program; do what+=("cmd/$program"); done

    # The vendored reflect2 1.0.1 crashes with Go from 1.18 on, at the first server-side apply.
    rm -r "$work/src/vendor/github.com/modern-go/reflect2"
    cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 "$work/src/vendor/github.com/modern-go/"

    mkdir -p "$work/go/src/k8s.io"
    ln -s "$work/src" "$work/go/src/k8s.io/kubernetes"
    say "building $* (about 10 minutes on two cores; its output goes to $log)"
    # env -i: no Go setting of the caller reaches the build.
    cd "$work/go/src/k8s.io/kubernetes"
    logged env -i PATH=/usr/lib/go-1.19/bin:/usr/bin:/bin HOME="$work" TMPDIR="$work" LC_ALL=C \
        GOPATH="$work/go" GOCACHE="$work/gocache" GOENV=off GOMAXPROCS="$(nproc)" CGO_ENABLED=0 \
        nice make WHAT="${what[*]}"
    cd "$root"

    mkdir -p "$bin"
    for program; do
        [ "$("$out/$program" --version)" = "Kubernetes v$version" ] ||
            die "the built $program does not answer --version with $version: see $log"
        mv "$(readlink -f "$out/$program")" "$bin/$program"
    done
}

# missing PROGRAM...: those of them that are not in the cache, in $todo.
missing() {
    local program
    todo=()
    for program; do [ -x "$bin/$program" ] || todo+=("$program"); done
    [ ${#todo[@]} -gt 0 ]
}

usage='usage: hack/kube-build.sh kube-apiserver|kube-controller-manager... | --path'
[ $# -gt 0 ] || die "$usage"
if [ "$*" = --path ]; then
    echo "$bin"
    exit
fi
for program; do
    case $program in
        kube-apiserver | kube-controller-manager) ;;
        *) die "unknown program '$program'; $usage" ;;
    esac
done

if missing "$@" || ! command -v etcd >/dev/null || ! command -v kubectl >/dev/null; then
    need_debian_12
    mkdir -p "$root"
    exec 9>"$root/lock"
    if ! flock -n 9; then
        say "another run is building; waiting for it"
        flock 9
    fi
    install_tools
    if missing "$@"; then # again: the other run may have built it
        install_packages debian-archive-keyring dpkg-dev make golang-1.19-go jq rsync \
            golang-github-modern-go-reflect2-dev
        rm -rf "$work" # of a run that failed
        mkdir -p "$work"
        : >"$log"
        unpack_source
        build "${todo[@]}"
        rm -rf "$work"
        say "done: ${todo[*]} in $bin"
    fi
fi
for program; do echo "$bin/$program"; done
