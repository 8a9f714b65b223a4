#!/usr/bin/env bash
# Makes an OCI image of each program from Debian packages, without a container engine, and its bill of materials. Installs
# what that needs, builds the programs unless --programs says where they are, and writes build/images. Debian's lists and
# packages are kept in $COCO_CACHE (~/.cache/coco-pipelines). Safe to run again; the same commit and packages make the same
# bytes. Arguments go to hack/images.py, whose --help tells them; docs/images.md tells what is inside.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/deps.sh images
case " $* " in
*" --programs"* | *" --help "* | *" -h "*) ;;
*)
	hack/deps.sh build
	make --no-print-directory -j"$(nproc)" build
	;;
esac
exec hack/images.py "$@"
