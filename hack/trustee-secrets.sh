#!/bin/bash
# Prints the Secrets that the samples in manifests/samples/trustee need, with new keys, for kubectl or cocopipe render:
#
#   hack/trustee-secrets.sh [-n NAMESPACE] [-p PREFIX] [--kbs-config] HOST... | kubectl apply -f -
#
# HOST: a name under which guests reach the KBS. Certificates are self-signed and good for a year; for production, have an
# issuer make and renew them (cert-manager: P-256 for tokens, usage "server auth" for HTTPS).
#   kbs-tls, token-tls   kubernetes.io/tls, which a TrusteeConfig names: HTTPS, and the signer of tokens
#   -p PREFIX            put before their names, for a namespace with several Trustees: -p red- makes red-kbs-tls
#   --kbs-config         instead, in the form that a KbsConfig names: kbs-https-key, kbs-https-cert, kbs-token-key, kbs-token-cert
set -euo pipefail
umask 077 # keys

namespace=trustee-operator-system
prefix=
kbs_config=
hosts=()

die() {
    printf 'hack/trustee-secrets.sh: %s\n' "$*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    -n)
        [ $# -gt 1 ] || die "-n needs a namespace"
        namespace=$2
        shift
        ;;
    -p)
        [ $# -gt 1 ] || die "-p needs a prefix"
        prefix=$2
        shift
        ;;
    --kbs-config) kbs_config=yes ;;
    -*) die "unknown option $1; known: -n NAMESPACE, -p PREFIX, --kbs-config" ;;
    *) hosts+=("$1") ;;
    esac
    shift
done
[ ${#hosts[@]} -gt 0 ] || die "name the host under which guests reach the KBS, such as kbs.example.com"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# make_pair NAME EXTENSION...
make_pair() {
    local name=$1 said more=() extension
    shift
    for extension in "$@"; do
        more+=(-addext "$extension")
    done
    said=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 365 -subj "/CN=${hosts[0]}" \
        -addext basicConstraints=critical,CA:FALSE "${more[@]}" \
        -keyout "$folder/$name.key" -out "$folder/$name.crt" 2>&1) || die "openssl req failed: $said"
}

# secret NAME TYPE KEY FILE [KEY FILE]
secret() {
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\ntype: %s\ndata:\n' "$prefix$1" "$namespace" "$2"
    shift 2
    while [ $# -gt 0 ]; do
        printf '  %s: %s\n' "$1" "$(openssl base64 -A -in "$2")"
        shift 2
    done
}

names=$(printf ',DNS:%s' "${hosts[@]}")
make_pair https "subjectAltName=${names#,}" extendedKeyUsage=serverAuth
make_pair token keyUsage=critical,digitalSignature
if [ -n "$kbs_config" ]; then
    secret kbs-https-key Opaque privateKey "$folder/https.key"
    secret kbs-https-cert Opaque certificate "$folder/https.crt"
    secret kbs-token-key Opaque token.key "$folder/token.key"
    secret kbs-token-cert Opaque token.crt "$folder/token.crt"
else
    secret kbs-tls kubernetes.io/tls tls.crt "$folder/https.crt" tls.key "$folder/https.key"
    secret token-tls kubernetes.io/tls tls.crt "$folder/token.crt" tls.key "$folder/token.key"
fi
