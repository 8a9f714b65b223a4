#!/bin/bash
# Makes a CA and a serving certificate for a coco-webhook that reads them from files, with openssl: for tests and trials. On
# a cluster the webhook makes its own, see docs/certificates.md.
#
#   hack/certs.sh [--san NAME]... FOLDER
#
# FOLDER gets ca.crt, ca.key, tls.crt and tls.key. A CA that is there already stays and signs a new serving certificate:
# run it again to renew that.
#   --san NAME   one more name for the certificate, as openssl writes it: DNS:localhost, IP:127.0.0.1
set -euo pipefail
umask 077 # keys

namespace=coco-pipelines-system
service=coco-webhook
days=365

die() {
    printf 'hack/certs.sh: %s\n' "$*" >&2
    exit 2
}

folder=
names="DNS:$service.$namespace.svc,DNS:$service.$namespace.svc.cluster.local"
while [ $# -gt 0 ]; do
    case $1 in
    --san)
        [ $# -gt 1 ] || die "--san needs a name, such as IP:127.0.0.1"
        names="$names,$2"
        shift
        ;;
    -*) die "unknown option $1; known: --san NAME" ;;
    *)
        [ -z "$folder" ] || die "one folder is enough: $folder, or $1?"
        folder=$1
        ;;
    esac
    shift
done
[ -n "$folder" ] || die "name the folder that gets the certificates"
mkdir -p "$folder"

# What openssl says is shown when it fails only.
openssl() {
    local said
    said=$(command openssl "$@" 2>&1) || die "openssl $1 failed: $said"
}

new_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 -subj "/CN=$service CA" \
        -addext basicConstraints=critical,CA:true,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$folder/ca.key" -out "$folder/ca.crt"
}

# Both files appear under their names when both are done: what reads them never meets half a pair for long.
new_certificate() {
    local new="$folder/new"
    mkdir -p "$new"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=$service.$namespace.svc" \
        -keyout "$new/tls.key" -out "$new/tls.csr"
    printf '%s\n' "subjectAltName=$names" basicConstraints=critical,CA:false keyUsage=critical,digitalSignature \
        extendedKeyUsage=serverAuth >"$new/extensions"
    openssl x509 -req -sha256 -days "$days" -in "$new/tls.csr" -extfile "$new/extensions" \
        -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -set_serial "0x$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" \
        -out "$new/tls.crt"
    mv "$new/tls.key" "$new/tls.crt" "$folder/"
    rm -r "$new"
}

[ -e "$folder/ca.crt" ] || new_ca
new_certificate
