#!/usr/bin/env bash
# Installs the Debian packages that a purpose needs, and nothing where they are there: hack/deps.sh build test ...
# Through sudo if not root. Purposes: build, test, check, demo, images, cross.
set -euo pipefail

declare -A packages=(
	[build]="gcc libc6-dev make xxd libmicrohttpd-dev libgnutls28-dev libyaml-dev libjansson-dev zlib1g-dev libcurl4-openssl-dev libwebsockets-dev libssl-dev"
	[test]="python3 python3-venv libcmocka-dev openssl curl procps diffutils git openssh-client shellcheck wget libasan8 libubsan1 libtsan2 umoci"
	[check]="clang-format clang-tidy cppcheck shellcheck codespell clang libclang-rt-14-dev gcovr git"
	[demo]="python3 openssl curl diffutils procps"
	[images]="apt binutils dpkg python3"
	[cross]="gcc-aarch64-linux-gnu"
)

missing=()
for purpose in "$@"; do
	[ -n "${packages[$purpose]:-}" ] || { echo "hack/deps.sh: unknown purpose \"$purpose\"; known: build test check demo images cross" >&2; exit 2; }
	for p in ${packages[$purpose]}; do
		# One file tells for each package; dpkg itself takes a tenth of a second.
		compgen -G "/var/lib/dpkg/info/$p.list" >/dev/null || compgen -G "/var/lib/dpkg/info/$p:*.list" >/dev/null ||
			missing+=("$p")
	done
done
[ "${#missing[@]}" -gt 0 ] || exit 0

command -v apt-get >/dev/null || {
	echo "hack/deps.sh: these packages are missing, and there is no apt-get to install them: ${missing[*]}" >&2
	exit 1
}
as_root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "hack/deps.sh: install these packages as root, then run this again: ${missing[*]}" >&2
		exit 1
	}
	as_root=(sudo)
fi
echo "Installing ${#missing[@]} packages (about a minute): ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }; }
run apt-get update
run apt-get install -y --no-install-recommends "${missing[@]}"
