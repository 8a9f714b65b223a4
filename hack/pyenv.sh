#!/bin/bash
# Prints the path of a Python that has the packages of tests/requirements.txt, and makes it first if need be:
#
#   "$(hack/pyenv.sh)" tests/policy/test_policies.py
#
# It lives in a cache folder outside the tree (COCO_CACHE, by default ~/.cache/coco-pipelines), so that a machine
# makes it once. Only the path goes to stdout.
set -euo pipefail

requirements=$(dirname -- "${BASH_SOURCE[0]}")/../tests/requirements.txt
system_python=/usr/bin/python3
cache=${COCO_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set it, or COCO_CACHE}/.cache}/coco-pipelines}
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac

exec 3>&1 >&2 # what the tools print is no path

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@"
}

# Debian keeps ensurepip, which a venv gets its pip from, out of python3: it comes with python3-venv.
if ! "$system_python" -c 'import ensurepip, venv' 2>/dev/null; then
    apt_get update
    apt_get install --no-install-recommends python3 python3-venv
fi

# A venv holds its own path, so it can't be built aside and renamed. Instead one run at a time builds it in place,
# and .done says that it is whole. Its name says what is in it: another Python or other packages make another one.
hash=$({ "$system_python" --version && cat -- "$requirements"; } | sha256sum)
venv=$cache/pyenv-${hash:0:16}
mkdir -p -- "$cache"
exec 9>"$venv.lock"
flock 9
if [ ! -e "$venv/.done" ]; then
    "$system_python" -m venv --clear "$venv" 9>&-
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --only-binary :all: \
        --requirement "$requirements" 9>&-
    touch "$venv/.done"
fi
echo "$venv/bin/python" >&3
