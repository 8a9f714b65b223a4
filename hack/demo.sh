#!/usr/bin/env bash
# The main job, shown: a TaskRun pod before and after, its initdata, the same pod through the live webhook, one left
# alone, one denied. `make demo` builds what this needs. Everything happens on this machine's loopback.
set -euo pipefail
cd "$(dirname "$0")/.."

pod=manifests/samples/pod.yaml
profile=manifests/samples/profile.yaml
label=pipelines.confidentialcontainers.org/confidential
tmp=$(mktemp -d)
webhook=
finish() {
	[ -z "$webhook" ] || kill "$webhook" 2>/dev/null || true
	rm -rf "$tmp"
}
trap finish EXIT

say() { printf '\n\033[1m== %s\033[0m\n\n' "$*"; }
cocopipe() { build/bin/cocopipe "$@"; }
# Long base64 says nothing to a reader.
shorten() { sed -E 's/(H4sI[A-Za-z0-9+\/]{24})[A-Za-z0-9+\/=]{40,}/\1.../g'; }

say "1. A pod as Tekton makes it for $pod, before (-) and after (+)"
cocopipe inject -f "$pod" --profile "$profile" -o yaml >"$tmp/after.yaml"
# The same printer for both sides, so that only what changed shows.
sed "s|$label: \"true\"|$label: \"false\"|" "$pod" >"$tmp/unlabelled.yaml"
cocopipe inject -f "$tmp/unlabelled.yaml" --profile "$profile" -o yaml 2>/dev/null |
	sed "s|$label: \"false\"|$label: \"true\"|" >"$tmp/before.yaml"
diff -U2 --label before --label after "$tmp/before.yaml" "$tmp/after.yaml" | shorten || true

say "2. Why: cocopipe explain"
cocopipe explain -f "$pod" --profile "$profile"

say "3. The initdata that the guest is measured with, and its digest as each platform reports it"
cocopipe initdata show -f "$tmp/after.yaml" | sed -n '1,18p'
echo "[...]"
echo
cocopipe initdata digest -f "$tmp/after.yaml"

say "4. The same pod through the live webhook, over TLS"
hack/certs.sh --san DNS:localhost "$tmp/tls"
mkdir "$tmp/profiles"
cp "$profile" "$tmp/profiles/"
build/bin/coco-webhook --listen 127.0.0.1:0 --plain-listen 127.0.0.1:0 --tls-cert "$tmp/tls/tls.crt" \
	--tls-key "$tmp/tls/tls.key" --profiles "$tmp/profiles" 2>"$tmp/webhook.log" &
webhook=$!
port=
for _ in $(seq 100); do
	port=$(sed -n 's/.*"msg":"serving".*"port":\([0-9]*\).*/\1/p' "$tmp/webhook.log")
	[ -z "$port" ] || break
	kill -0 "$webhook" 2>/dev/null || { cat "$tmp/webhook.log" >&2; exit 1; }
	sleep 0.1
done
[ -n "$port" ] || { echo "the webhook did not start in 10 s:" >&2; cat "$tmp/webhook.log" >&2; exit 1; }

# An AdmissionReview around a pod, as an API server sends it.
review() {
	cocopipe inject -f "$1" --profile "$profile" -o json 2>/dev/null >"$tmp/pod.json"
	python3 - "$tmp/pod.json" "$2" <<'EOF'
import json, sys
pod = json.load(open(sys.argv[1]))
labels = pod["metadata"].setdefault("labels", {})
labels["pipelines.confidentialcontainers.org/confidential"] = sys.argv[2]
if sys.argv[2] == "none":
    labels.pop("pipelines.confidentialcontainers.org/confidential")
print(json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
    "uid": "a-uid-of-the-demo", "operation": "CREATE", "namespace": pod["metadata"].get("namespace", "default"),
    "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
    "userInfo": {"username": "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"}, "object": pod}}))
EOF
}
ask() {
	curl -sS --cacert "$tmp/tls/ca.crt" --max-time 10 -H 'Content-Type: application/json' --data-binary @- \
		"https://localhost:$port/mutate-pods"
}
field() { python3 -c 'import json, sys; r = json.load(sys.stdin)["response"]; print(json.dumps({k: r.get(k) for k in sys.argv[1:]}, indent=1))' "$@"; }

review "$tmp/unlabelled.yaml" true >"$tmp/review.json"
ask <"$tmp/review.json" >"$tmp/answer.json"
field uid allowed warnings auditAnnotations <"$tmp/answer.json"
cocopipe inject -f "$tmp/review.json" --profile "$profile" -o review >"$tmp/offline.json"
echo >>"$tmp/answer.json" # what is printed ends in a newline
cmp "$tmp/answer.json" "$tmp/offline.json" || {
	echo "The webhook's answer isn't that of cocopipe inject -o review: please report this." >&2
	exit 1
}
echo "Its answer is byte for byte that of cocopipe inject -o review."

say "5. A pod without the label is left alone"
review "$tmp/unlabelled.yaml" none | ask | field allowed patch

say "6. A pod that would escape protection is denied, with what to do"
sed "s|^spec:|spec:\n  runtimeClassName: runc|" "$pod" >"$tmp/conflict.yaml"
cocopipe inject -f "$tmp/conflict.yaml" --profile "$profile" || echo "(exit status $?)"

say "7. What the webhook logged, one JSON object a line"
shorten <"$tmp/webhook.log"
kill -TERM "$webhook"
wait "$webhook"
webhook=
echo
echo "Done. Next: README.md, docs/mutation.md, docs/sizing.md."
