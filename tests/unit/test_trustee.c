// TrusteeConfig and KbsConfig: what is refused, with which words; what fields become; whose names they take.
#include <errno.h>
#include <stdio.h>

#include "common/kube/resource.h"
#include "common/kube_name.h"
#include "common/trustee.h"
#include "world.h"

// ---- What is refused; NULL: taken

struct spec_case {
	const char *name;
	const char *spec; // in YAML, without its braces
	const char *message;
};

#define RESTRICTED "profileType: Restricted, httpsSpec: {tlsSecretName: kbs-tls}"
#define NAME_RULE " has a-z, 0-9, '-' and '.', begins and ends with a letter or digit, and has at most 253 characters"
#define LONG_63 "a23456789a123456789a123456789a123456789a123456789a123456789a123"

// Of TrusteeConfig alone.
static struct spec_case trustee_cases[] = {
	{"nothing", "", NULL},
	{"upstream's fields",
	 RESTRICTED ", attestationTokenVerificationSpec: {tlsSecretName: token.tls}, kbsServiceType: NodePort, ibmSE: "
				"{pvName: se-pv}, tlsConfig: {profile: custom, minVersion: '1.2', maxVersion: '1.3', ciphers: "
				"[TLS_AES_128_GCM_SHA256, 'ECDHE+AESGCM:!aNULL'], groups: [X25519MLKEM768]}",
	 NULL},
	{"null and empty are unset",
	 "profileType: Permissive, kbsServiceType: '', httpsSpec: null, "
	 "attestationTokenVerificationSpec: {tlsSecretName: ''}, tlsConfig: {ciphers: []}",
	 NULL},
	{"profile: lower case", "profileType: restricted",
	 "spec.profileType is \"restricted\"; it must be one of Permissive, Restricted"},
	{"profile: empty", "profileType: ''", "spec.profileType is \"\"; it must be one of Permissive, Restricted"},
	{"Restricted: no https", "profileType: Restricted",
	 "spec.profileType is Restricted, but spec.httpsSpec.tlsSecretName is missing; set it to the name of a Secret of "
	 "type "
	 "kubernetes.io/tls, or else guests could not tell the KBS from whoever answers in its place"},
	{"Restricted: https without name", "profileType: Restricted, httpsSpec: {tlsSecretName: ''}",
	 "spec.profileType is Restricted, but spec.httpsSpec.tlsSecretName is missing; set it to the name of a Secret of "
	 "type "
	 "kubernetes.io/tls, or else guests could not tell the KBS from whoever answers in its place"},
	{"https: no name of a Secret", "httpsSpec: {tlsSecretName: Kbs_TLS}",
	 "spec.httpsSpec.tlsSecretName is \"Kbs_TLS\"; the name of a Secret" NAME_RULE},
	{"https: misspelled", "httpsSpec: {tlsSecret: a}",
	 "spec.httpsSpec.tlsSecret is not a known field; spec.httpsSpec has tlsSecretName"},
	{"https: upstream's old sample", "attestationTokenVerificationSpec: {certificate: ''}",
	 "spec.attestationTokenVerificationSpec.certificate is not a known field; spec.attestationTokenVerificationSpec "
	 "has "
	 "tlsSecretName"},
	{"token: dots at an end", "attestationTokenVerificationSpec: {tlsSecretName: a.}",
	 "spec.attestationTokenVerificationSpec.tlsSecretName is \"a.\"; the name of a Secret" NAME_RULE},
	{"ibmSE: no name", "ibmSE: {}",
	 "spec.ibmSE.pvName is missing; set it to the name of the PersistentVolume that holds the IBM SE certificates"},
	{"ibmSE: no name of a volume", "ibmSE: {pvName: a/b}",
	 "spec.ibmSE.pvName is \"a/b\"; the name of a PersistentVolume" NAME_RULE},
	{"tls: no such profile", "tlsConfig: {profile: Old}",
	 "spec.tlsConfig.profile is \"Old\"; it must be one of old, intermediate, modern, custom"},
	{"tls: 1.0", "tlsConfig: {minVersion: '1.0'}",
	 "spec.tlsConfig.minVersion is \"1.0\"; it must be 1.2 or 1.3, as Trustee knows no other and would not start"},
	{"tls: 1.1", "tlsConfig: {profile: custom, maxVersion: '1.1'}",
	 "spec.tlsConfig.maxVersion is \"1.1\"; it must be 1.2 or 1.3, as Trustee knows no other and would not start"},
	{"tls: unquoted", "tlsConfig: {minVersion: 1.2}",
	 "spec.tlsConfig.minVersion must be a string, not a number (put it in quotes)"},
	{"tls: order", "tlsConfig: {minVersion: '1.3', maxVersion: '1.2'}",
	 "spec.tlsConfig.minVersion 1.3 is above spec.tlsConfig.maxVersion 1.2; raise maxVersion or lower minVersion"},
#define TLS_NAME "; it must be one IANA or OpenSSL name, without blanks, quotes, backslashes and line breaks"
	{"tls: newline", "tlsConfig: {ciphers: [A, \"B\\ninsecure_http = true\"]}",
	 "spec.tlsConfig.ciphers[1] is \"B?insecure_http = true\"" TLS_NAME},
	{"tls: quote", "tlsConfig: {groups: ['a\"b']}", "spec.tlsConfig.groups[0] is \"a\"b\"" TLS_NAME},
	{"tls: backslash", "tlsConfig: {groups: ['a\\b']}", "spec.tlsConfig.groups[0] is \"a\\b\"" TLS_NAME},
	{"tls: blank", "tlsConfig: {ciphers: ['A B']}", "spec.tlsConfig.ciphers[0] is \"A B\"" TLS_NAME},
	{"tls: empty name", "tlsConfig: {ciphers: ['']}", "spec.tlsConfig.ciphers[0] is \"\"" TLS_NAME},
	{"tls: beyond ASCII", "tlsConfig: {ciphers: [Ä]}", "spec.tlsConfig.ciphers[0] is \"Ä\"" TLS_NAME},
	{"nvidia: unquoted Off", "nvidia: false", NULL},
	{"nvidia: yes", "nvidia: true", "spec.nvidia must be a string, not a boolean (put it in quotes)"},
	{"nvidia: no such one", "nvidia: NRAS", "spec.nvidia is \"NRAS\"; it must be one of Off, Local, Remote"},
	{"air gap: NVIDIA's service", "airGapped: true, nvidia: Remote",
	 "spec.nvidia is Remote, which asks NVIDIA's service, but spec.airGapped is true; set nvidia: Local or airGapped: "
	 "false"},
	{"air gap: local", "airGapped: true, nvidia: Local", NULL},
	{"secretResources", "secretResources: [attestation-status, with.dots]", NULL},
	{"secretResources: no name", "secretResources: [a, B]",
	 "spec.secretResources[1] is \"B\"; the name of a Secret" NAME_RULE},
	{"secretResources: twice", "secretResources: [a, b, a]",
	 "spec.secretResources[2] is \"a\", as is spec.secretResources[0]; remove one of them"},
	{"secretResources: with vault",
	 "secretResources: [a], vault: {address: 'https://v', tokenSecretRef: {name: a, key: b}}",
	 "spec.secretResources and spec.vault exclude each other, as the KBS reads all resources from Vault then; write "
	 "these "
	 "to Vault and drop spec.secretResources"},
	{"replicas", "replicas: 0", NULL},
	{"replicas: negative", "replicas: -1", "spec.replicas is -1; it must be from 0 to 2147483647"},
	{"replicas: too many", "replicas: 2147483648", "spec.replicas is 2147483648; it must be from 0 to 2147483647"},
	{"bindings: a profile", "bindings: [{profileRef: {name: p, namespace: ns}, resources: [default/app/key, a/b, c]}]",
	 NULL},
	{"bindings: digests",
	 "bindings: [{initdataDigests: ['sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'], "
	 "resources: "
	 "[a]}]",
	 NULL},
	{"bindings: neither", "bindings: [{resources: [a]}]",
	 "spec.bindings[0] needs exactly one of profileRef and initdataDigests; it has none"},
	{"bindings: both", "bindings: [{profileRef: {name: a}, initdataDigests: [a], resources: [a]}]",
	 "spec.bindings[0] needs exactly one of profileRef and initdataDigests; it has both"},
	{"bindings: no name", "bindings: [{profileRef: {namespace: x}, resources: [a]}]",
	 "spec.bindings[0].profileRef is \"\" of namespace \"x\"; it must be the name of a ConfidentialProfile, and of its "
	 "namespace where that is another"},
	{"bindings: no namespace", "bindings: [{profileRef: {name: a, namespace: x.y}, resources: [a]}]",
	 "spec.bindings[0].profileRef is \"a\" of namespace \"x.y\"; it must be the name of a ConfidentialProfile, and of "
	 "its "
	 "namespace where that is another"},
#define DIGEST_RULE "; it must be as a profile's status has it, such as sha256:HEX with 64 digits of 0-9 and a-f"
	{"bindings: short digest", "bindings: [{initdataDigests: ['sha256:ab'], resources: [a]}]",
	 "spec.bindings[0].initdataDigests[0] is \"sha256:ab\"" DIGEST_RULE},
	{"bindings: bare digest",
	 "bindings: [{initdataDigests: [0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef], resources: "
	 "[a]}]",
	 "spec.bindings[0].initdataDigests[0] is "
	 "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"" DIGEST_RULE},
	{"bindings: upper case",
	 "bindings: [{initdataDigests: ['sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef'], "
	 "resources: "
	 "[a]}]",
	 "spec.bindings[0].initdataDigests[0] is "
	 "\"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"" DIGEST_RULE},
	{"bindings: no resource", "bindings: [{profileRef: {name: a}, resources: [a]}, {profileRef: {name: b}}]",
	 "spec.bindings[1].resources is missing; list the paths of resources that this initdata may get, such as "
	 "default/app/key"},
#define RESOURCE_RULE                                                                                                \
	"; it must be REPOSITORY, REPOSITORY/TYPE or REPOSITORY/TYPE/TAG, such as default/app/key, without kbs:/// and " \
	"wildcards"
	{"bindings: a URL", "bindings: [{profileRef: {name: a}, resources: ['kbs:///a/b/c']}]",
	 "spec.bindings[0].resources[0] is \"kbs:///a/b/c\"" RESOURCE_RULE},
	{"bindings: a wildcard", "bindings: [{profileRef: {name: a}, resources: [a, 'a/*']}]",
	 "spec.bindings[0].resources[1] is \"a/*\"" RESOURCE_RULE},
	{"bindings: four parts", "bindings: [{profileRef: {name: a}, resources: [a/b/c/d]}]",
	 "spec.bindings[0].resources[0] is \"a/b/c/d\"" RESOURCE_RULE},
	{"bindings: slash at the end", "bindings: [{profileRef: {name: a}, resources: [a/b/]}]",
	 "spec.bindings[0].resources[0] is \"a/b/\"" RESOURCE_RULE},
	{"bindings: dots", "bindings: [{profileRef: {name: a}, resources: [a/../b]}]",
	 "spec.bindings[0].resources[0] is \"a/../b\"" RESOURCE_RULE},
	{"bindings: empty path", "bindings: [{profileRef: {name: a}, resources: ['']}]",
	 "spec.bindings[0].resources[0] is \"\"" RESOURCE_RULE},
	{"bindings: no list", "bindings: {}", "spec.bindings must be a list of objects, not an object"},
	{"bindings: a list of texts", "bindings: [a]", "spec.bindings[0] must be an object, not a string"},
	{"a misspelled field", "profiletype: Restricted",
	 "spec.profiletype is not a known field; spec has profileType, allowDowngrade, httpsSpec, "
	 "attestationTokenVerificationSpec, ibmSE, tlsConfig, nvidia, airGapped, secretResources, bindings, replicas, "
	 "instanceName, kbsServiceType, exposure, vault, imagePolicy, sessionStorage, resources, imagePullSecrets, image, "
	 "trusteeVersion, driftPolicy, metrics"},
};

// Of both kinds.
static struct spec_case hosting_cases[] = {
	{"service: ExternalName", "kbsServiceType: ExternalName",
	 "spec.kbsServiceType is \"ExternalName\"; it must be one of ClusterIP, NodePort, LoadBalancer"},
	{"service: no such type", "kbsServiceType: clusterip",
	 "spec.kbsServiceType is \"clusterip\"; it must be one of ClusterIP, NodePort, LoadBalancer"},
#define INSTANCE_RULE                                                                                                  \
	"; it becomes the beginning of a Service's name: at most 40 of a-z, 0-9 and '-', the first a letter, the last no " \
	"'-'"
	{"instance", "instanceName: a234567890123456789012345678901234567890", NULL},
	{"instance: empty", "instanceName: ''", NULL},
	{"instance: long", "instanceName: a2345678901234567890123456789012345678901",
	 "spec.instanceName is \"a2345678901234567890123456789012345678901\"" INSTANCE_RULE},
	{"instance: digit", "instanceName: 2nd", "spec.instanceName is \"2nd\"" INSTANCE_RULE},
	{"instance: dot", "instanceName: a.b", "spec.instanceName is \"a.b\"" INSTANCE_RULE},
	{"instance: hyphen", "instanceName: a-", "spec.instanceName is \"a-\"" INSTANCE_RULE},
	{"exposure: host", "exposure: {type: Ingress, host: kbs.example.com}", NULL},
	{"exposure: no such type", "exposure: {type: Gateway}",
	 "spec.exposure.type is \"Gateway\"; it must be one of Auto, Route, TLSRoute, Ingress, None"},
#define HOST_RULE "; it must be a host's name such as kbs.example.com, without port or path, in lower case"
	{"exposure: a URL", "exposure: {host: 'https://kbs'}", "spec.exposure.host is \"https://kbs\"" HOST_RULE},
	{"exposure: a port", "exposure: {host: 'kbs:8080'}", "spec.exposure.host is \"kbs:8080\"" HOST_RULE},
	{"exposure: None with host", "exposure: {type: None, host: kbs}", NULL},
	{"exposure: Ingress needs host", "exposure: {type: Ingress}",
	 "spec.exposure.type is Ingress, but spec.exposure.host is missing; set it to the host's name that guests use, "
	 "such as "
	 "kbs.example.com"},
	{"exposure: TLSRoute needs host", "exposure: {type: TLSRoute, host: ''}",
	 "spec.exposure.type is TLSRoute, but spec.exposure.host is missing; set it to the host's name that guests use, "
	 "such "
	 "as kbs.example.com"},
#define TLS_ROUTE "type: TLSRoute, host: kbs.example.com"
	{"exposure: a Gateway", "exposure: {" TLS_ROUTE ", gatewayRef: {name: a.b, namespace: infra, sectionName: tls}}",
	 NULL},
	{"exposure: a Gateway with nothing but a name",
	 "exposure: {" TLS_ROUTE ", gatewayRef: {name: a, namespace: '', sectionName: ''}}", NULL},
	{"exposure: TLSRoute needs a Gateway", "exposure: {" TLS_ROUTE "}",
	 "spec.exposure.type is TLSRoute, but spec.exposure.gatewayRef is missing; set its name to the Gateway with a "
	 "listener of protocol TLS and mode Passthrough"},
	{"exposure: a Gateway of nothing", "exposure: {type: Route, gatewayRef: {name: a}}",
	 "spec.exposure.gatewayRef is set, but spec.exposure.type is Route; set type to TLSRoute, or drop gatewayRef"},
#define GATEWAY_RULE                                                                                                 \
	"; it must be the name of a Gateway, of its namespace where that is another, and of a listener where only that " \
	"one will do"
	{"exposure: a Gateway without a name", "exposure: {" TLS_ROUTE ", gatewayRef: {}}",
	 "spec.exposure.gatewayRef is \"\" of namespace \"\", sectionName \"\"" GATEWAY_RULE},
	{"exposure: a Gateway in no namespace", "exposure: {" TLS_ROUTE ", gatewayRef: {name: a, namespace: b.c}}",
	 "spec.exposure.gatewayRef is \"a\" of namespace \"b.c\", sectionName \"\"" GATEWAY_RULE},
	{"exposure: a Gateway's bad listener", "exposure: {" TLS_ROUTE ", gatewayRef: {name: a, sectionName: A}}",
	 "spec.exposure.gatewayRef is \"a\" of namespace \"\", sectionName \"A\"" GATEWAY_RULE},
	{"exposure: a class", "exposure: {type: Ingress, host: kbs, ingressClassName: nginx}", NULL},
	{"exposure: a class of nothing", "exposure: {ingressClassName: nginx}",
	 "spec.exposure.ingressClassName is \"nginx\", but spec.exposure.type is Auto; set type to Ingress, or drop "
	 "ingressClassName"},
	{"exposure: an empty class", "exposure: {ingressClassName: ''}", NULL},
	{"exposure: a bad class", "exposure: {type: Ingress, host: kbs, ingressClassName: a_b}",
	 "spec.exposure.ingressClassName is \"a_b\"; it must be the name of an IngressClass"},
#define TOKEN "tokenSecretRef: {name: t, key: k}"
	{"vault",
	 "vault: {address: 'https://v:8200', mountPath: team-a/kv, " TOKEN ", caSecretRef: {name: c, key: ca.crt}}", NULL},
	{"vault: no address", "vault: {" TOKEN "}", "spec.vault.address is missing; set it to https://HOST:PORT of Vault"},
	{"vault: no URL", "vault: {address: v, " TOKEN "}",
	 "spec.vault.address is \"v\"; it must be https://HOST:PORT or http://HOST:PORT"},
	{"vault: newline", "vault: {address: \"https://v\\nx\", " TOKEN "}",
	 "spec.vault.address is \"https://v?x\"; it must be https://HOST:PORT or http://HOST:PORT"},
#define MOUNT_RULE \
	"; it must be where the KV v1 engine is mounted, such as secret or team-a/kv, without slashes at its ends"
	{"vault: slash", "vault: {address: 'https://v', mountPath: /secret, " TOKEN "}",
	 "spec.vault.mountPath is \"/secret\"" MOUNT_RULE},
	{"vault: up", "vault: {address: 'https://v', mountPath: a/../b, " TOKEN "}",
	 "spec.vault.mountPath is \"a/../b\"" MOUNT_RULE},
	{"vault: no mount", "vault: {address: 'https://v', mountPath: '', " TOKEN "}",
	 "spec.vault.mountPath is \"\"" MOUNT_RULE},
	{"vault: no token", "vault: {address: 'https://v'}",
	 "spec.vault.tokenSecretRef is missing; set name and key of the Secret that holds Vault's token"},
	{"vault: no key", "vault: {address: 'https://v', tokenSecretRef: {name: a}}",
	 "spec.vault.tokenSecretRef needs both name and key"},
	{"vault: no name of a Secret", "vault: {address: 'https://v', tokenSecretRef: {name: A, key: b}}",
	 "spec.vault.tokenSecretRef.name is \"A\"; the name of a Secret" NAME_RULE},
	{"vault: the token itself", "vault: {address: 'https://v', token: hvs}",
	 "spec.vault.token is not a known field; spec.vault has address, mountPath, tokenSecretRef, caSecretRef"},
	{"vault: CA of plain http", "vault: {address: 'http://v', " TOKEN ", caSecretRef: {name: c, key: k}}",
	 "spec.vault.caSecretRef is set, but spec.vault.address \"http://v\" is plain http; write https or drop it"},
	{"vault: CA without key", "vault: {address: 'https://v', " TOKEN ", caSecretRef: {name: c}}",
	 "spec.vault.caSecretRef needs both name and key"},
	{"sessions: Redis", "sessionStorage: {type: Redis, secretRef: {name: r, key: url}}", NULL},
	{"sessions: no URL", "sessionStorage: {type: Postgres}",
	 "spec.sessionStorage.type is Postgres, but spec.sessionStorage.secretRef is missing; set name and key of the "
	 "Secret "
	 "that holds its URL"},
	{"sessions: no type", "sessionStorage: {secretRef: {name: r, key: url}}",
	 "spec.sessionStorage.secretRef is set, but spec.sessionStorage.type is Memory; set type to Redis or Postgres, or "
	 "drop "
	 "secretRef"},
	{"sessions: no key", "sessionStorage: {type: Redis, secretRef: {name: r}}",
	 "spec.sessionStorage.secretRef needs both name and key"},
	{"images: text", "imagePolicy: {securityPolicy: '{\"default\": [{\"type\": \"reject\"}]}'}", NULL},
	{"images: ConfigMap", "imagePolicy: {name: reject, configMapKeyRef: {name: c, key: k}}", NULL},
	{"images: neither", "imagePolicy: {name: a}",
	 "spec.imagePolicy needs exactly one of securityPolicy and configMapKeyRef; it has none"},
	{"images: both", "imagePolicy: {securityPolicy: '{}', configMapKeyRef: {name: c, key: k}}",
	 "spec.imagePolicy needs exactly one of securityPolicy and configMapKeyRef; it has both"},
#define POLICY_RULE "); write JSON such as {\"default\": [{\"type\": \"reject\"}], \"transports\": {}}"
	{"images: no JSON", "imagePolicy: {securityPolicy: 'a'}",
	 "spec.imagePolicy.securityPolicy is not a policy for images (not JSON: '[' or '{' expected near 'a'" POLICY_RULE},
	{"images: no default", "imagePolicy: {securityPolicy: '{\"transports\": {}}'}",
	 "spec.imagePolicy.securityPolicy is not a policy for images (it has no list \"default\"" POLICY_RULE},
	{"images: a path", "imagePolicy: {name: a/b, securityPolicy: '{}'}",
	 "spec.imagePolicy.name is \"a/b\"; it ends the path default/security-policy/NAME: letters, digits, '-', '_' and "
	 "'.', "
	 "the first no '.'"},
	{"images: no name", "imagePolicy: {name: '', securityPolicy: '{}'}",
	 "spec.imagePolicy.name is \"\"; it ends the path default/security-policy/NAME: letters, digits, '-', '_' and '.', "
	 "the first no '.'"},
	{"images: with vault",
	 "imagePolicy: {configMapKeyRef: {name: c, key: k}}, vault: {address: 'https://v', " TOKEN "}",
	 "spec.imagePolicy and spec.vault exclude each other, as the KBS reads all resources from Vault then; write the "
	 "policy "
	 "to Vault as default/security-policy/signed and drop spec.imagePolicy"},
	{"images: no key", "imagePolicy: {configMapKeyRef: {name: c}}",
	 "spec.imagePolicy.configMapKeyRef needs both name and key"},
	{"resources", "resources: {requests: {cpu: 1, memory: 256Mi}, limits: {cpu: 1500m, memory: 1Gi}}", NULL},
	{"resources: no quantity", "resources: {requests: {cpu: [1]}}",
	 "spec.resources.requests.cpu must be a quantity such as 500m or 512Mi"},
	{"resources: misspelled unit", "resources: {limits: {memory: 1Gb}}",
	 "spec.resources.limits.memory: \"1Gb\" is not a quantity; write one like 512Mi, 8Gi or 1.5G"},
	{"resources: negative", "resources: {limits: {memory: '-1'}}",
	 "spec.resources.limits.memory is \"-1\"; it must not be below zero"},
	{"resources: no object", "resources: {limits: 1Gi}",
	 "spec.resources.limits must be an object, such as {cpu: 500m, memory: 512Mi}"},
	{"resources: above the limit", "resources: {requests: {cpu: 501m}, limits: {cpu: 0.5}}",
	 "spec.resources.requests.cpu is above spec.resources.limits.cpu; raise the limit or lower the request"},
	{"pull secrets", "imagePullSecrets: [{name: a}, {name: b.c}]", NULL},
	{"pull secrets: no name", "imagePullSecrets: [{}]",
	 "spec.imagePullSecrets[0].name is missing; set it to the name of a Secret"},
	{"pull secrets: texts", "imagePullSecrets: [a]", "spec.imagePullSecrets[0] must be an object, not a string"},
	{"pull secrets: too many", "imagePullSecrets: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}]",
	 "spec.imagePullSecrets has 17 items; it may have 16"},
	{"image", "image: 'r.example.com:5000/a/kbs@sha256:ab'", NULL},
	{"image: blank", "image: 'a b'",
	 "spec.image is \"a b\"; it must be an image such as registry.example.com/kbs:v0.21.0 or "
	 "registry.example.com/kbs@sha256:DIGEST"},
	{"image: an option", "image: -v",
	 "spec.image is \"-v\"; it must be an image such as registry.example.com/kbs:v0.21.0 or "
	 "registry.example.com/kbs@sha256:DIGEST"},
	{"version: unquoted", "trusteeVersion: 0.20",
	 "spec.trusteeVersion must be a string, not a number (put it in quotes)"},
#define VERSION_RULE "; it must be a release of Trustee such as \"0.21\""
	{"version: a name", "trusteeVersion: latest", "spec.trusteeVersion is \"latest\"" VERSION_RULE},
	{"version: one number", "trusteeVersion: '21'", "spec.trusteeVersion is \"21\"" VERSION_RULE},
	{"version: something behind", "trusteeVersion: 0.21-rc1", "spec.trusteeVersion is \"0.21-rc1\"" VERSION_RULE},
	{"version: a dot behind", "trusteeVersion: '0.21.'", "spec.trusteeVersion is \"0.21.\"" VERSION_RULE},
	{"version: a blank", "trusteeVersion: '0. 21'", "spec.trusteeVersion is \"0. 21\"" VERSION_RULE},
	{"version: a sign", "trusteeVersion: '0.-1'", "spec.trusteeVersion is \"0.-1\"" VERSION_RULE},
	{"version: huge", "trusteeVersion: '0.4294967317'", "spec.trusteeVersion is \"0.4294967317\"" VERSION_RULE},
	{"version: old", "trusteeVersion: '0.14'",
	 "spec.trusteeVersion is \"0.14\"; releases before 0.15 are not supported: take a newer image"},
	{"drift: unquoted Off", "driftPolicy: false",
	 "spec.driftPolicy must be a string, not a boolean (put it in quotes)"},
	{"drift: Off", "driftPolicy: 'Off'", NULL},
	{"drift: no such one", "driftPolicy: Repair",
	 "spec.driftPolicy is \"Repair\"; it must be one of Enforce, Warn, Off"},
	{"metrics: a text", "metrics: {serviceMonitor: 'true'}",
	 "spec.metrics.serviceMonitor must be true or false, not a string"},
};

// Of KbsConfig alone.
static struct spec_case kbs_cases[] = {
	{"kbs: nothing", "", NULL},
	{"kbs: upstream's fields",
	 "kbsConfigMapName: a, kbsAsConfigMapName: a, kbsRvpsConfigMapName: a, kbsRvpsRefValuesConfigMapName: a, "
	 "kbsAuthSecretName: a, kbsHttpsKeySecretName: a, kbsHttpsCertSecretName: a, kbsAttestationKeySecretName: a, "
	 "kbsAttestationCertSecretName: a, kbsServiceType: LoadBalancer, kbsDeploymentType: MicroservicesDeployment, "
	 "kbsSecretResources: [a, b.c], kbsAttestationPolicyConfigMapName: a, kbsGpuAttestationPolicyConfigMapName: a, "
	 "kbsResourcePolicyConfigMapName: '', ibmSEConfigSpec: {certStorePvc: p}, KbsEnvVars: {RUST_LOG: debug}, "
	 "kbsLocalCertCacheSpec: {secrets: [{secretName: a}, {secretName: b, mountPath: /b}]}, KbsDeploymentSpec: "
	 "{replicas: "
	 "0}",
	 NULL},
	{"kbs: capitals", "kbsEnvVars: {}",
	 "spec.kbsEnvVars is not a known field; spec has kbsConfigMapName, kbsAsConfigMapName, kbsRvpsConfigMapName, "
	 "kbsRvpsRefValuesConfigMapName, kbsAttestationPolicyConfigMapName, kbsGpuAttestationPolicyConfigMapName, "
	 "kbsResourcePolicyConfigMapName, kbsAuthSecretName, kbsHttpsKeySecretName, kbsHttpsCertSecretName, "
	 "kbsAttestationKeySecretName, kbsAttestationCertSecretName, kbsDeploymentType, kbsSecretResources, "
	 "ibmSEConfigSpec, "
	 "KbsEnvVars, kbsLocalCertCacheSpec, KbsDeploymentSpec, instanceName, kbsServiceType, exposure, vault, "
	 "imagePolicy, "
	 "sessionStorage, resources, imagePullSecrets, image, trusteeVersion, driftPolicy, metrics"},
	{"kbs: no name of a ConfigMap", "kbsResourcePolicyConfigMapName: 'a b'",
	 "spec.kbsResourcePolicyConfigMapName is \"a b\"; the name of a ConfigMap" NAME_RULE},
	{"kbs: no name of a Secret", "kbsHttpsKeySecretName: a..b",
	 "spec.kbsHttpsKeySecretName is \"a..b\"; the name of a Secret" NAME_RULE},
	{"kbs: no name of a claim", "ibmSEConfigSpec: {certStorePvc: -a}",
	 "spec.ibmSEConfigSpec.certStorePvc is \"-a\"; the name of a PersistentVolumeClaim" NAME_RULE},
	{"kbs: no such deployment", "kbsDeploymentType: Both",
	 "spec.kbsDeploymentType is \"Both\"; it must be one of AllInOneDeployment, MicroservicesDeployment"},
	{"kbs: secret twice", "kbsSecretResources: [a, a]",
	 "spec.kbsSecretResources[1] is \"a\", as is spec.kbsSecretResources[0]; remove one of them"},
	{"kbs: no secret", "kbsSecretResources: ['']",
	 "spec.kbsSecretResources[0] is \"\"; the name of a Secret" NAME_RULE},
	{"kbs: variable's value", "KbsEnvVars: {A: 1}",
	 "spec.KbsEnvVars.A must be a string, not an integer (put it in quotes)"},
	{"kbs: variables", "KbsEnvVars: [a]", "spec.KbsEnvVars must be an object, not an array"},
	{"kbs: variable's name", "KbsEnvVars: {'A=B': s3cret}",
	 "spec.KbsEnvVars has \"A=B\"; the name of an environment variable has letters, digits, '_', '-' and '.', and "
	 "begins "
	 "with no digit"},
	{"kbs: certificates of none", "kbsLocalCertCacheSpec: {secrets: [{mountPath: /a}]}",
	 "spec.kbsLocalCertCacheSpec.secrets[0].secretName is missing; set it to the name of a Secret"},
	{"kbs: certificates, no path", "kbsLocalCertCacheSpec: {secrets: [{secretName: a, mountPath: b}]}",
	 "spec.kbsLocalCertCacheSpec.secrets[0].mountPath is \"b\"; it must be an absolute path without ':', line breaks "
	 "and "
	 "\"..\""},
	{"kbs: certificates, up", "kbsLocalCertCacheSpec: {secrets: [{secretName: a, mountPath: /a/..}]}",
	 "spec.kbsLocalCertCacheSpec.secrets[0].mountPath is \"/a/..\"; it must be an absolute path without ':', line "
	 "breaks "
	 "and \"..\""},
	{"kbs: certificates at one path",
	 "kbsLocalCertCacheSpec: {secrets: [{secretName: a}, {secretName: b, mountPath: ''}]}",
	 "spec.kbsLocalCertCacheSpec.secrets[1].mountPath is \"" KBS_CERT_CACHE_PATH
	 "\", as is that of secrets[0]; give each a path of its own, such as that and /HWID"},
	{"kbs: replicas", "KbsDeploymentSpec: {replicas: -1}",
	 "spec.KbsDeploymentSpec.replicas is -1; it must be from 0 to 2147483647"},
};

static void assert_verdict(bool kbs, const struct spec_case *row)
{
	struct error err;
	CLEANUP_FREE
	char *text = xasprintf("{metadata: {name: t}, spec: {%s}}", row->spec);
	json_t *object = yaml_tree(text);
	static struct trustee_spec t;
	static struct kbs_spec k;
	int rc = kbs ? kbs_decode(object, &k, &err) : trustee_decode(object, &t, &err);
	assert_text(rc < 0 ? err.msg : NULL, row->message);
	assert_int_equal(rc, row->message != NULL ? -EINVAL : 0);
	json_decref(object);
}

static void test_trustee(void **state)
{
	assert_verdict(false, *state);
}

static void test_kbs(void **state)
{
	assert_verdict(true, *state);
}

static void test_hosting(void **state)
{
	assert_verdict(false, *state);
	assert_verdict(true, *state);
}

// ---- What fields become

// Everything but the defaults, in both kinds.
#define HOSTING_SPEC                                                                                                   \
	"instanceName: two, kbsServiceType: NodePort, exposure: {type: TLSRoute, host: kbs.example.com, gatewayRef: "      \
	"{name: g, namespace: infra, sectionName: tls}}, "                                                                 \
	"sessionStorage: {type: Redis, secretRef: {name: r, key: url}}, imagePullSecrets: [{name: x}, {name: z}], image: " \
	"r/kbs, trusteeVersion: v1.2.3, driftPolicy: Warn, metrics: {serviceMonitor: true}, resources: {limits: {cpu: "    \
	"1}}, "                                                                                                            \
	"vault: {address: 'https://v', mountPath: kv, tokenSecretRef: {name: t, key: k}}"

static void assert_hosting(const struct trustee_hosting *h)
{
	assert_string_equal(h->instance_name, "two");
	assert_string_equal(h->service_type, "NodePort");
	assert_int_equal(h->exposure.type, EXPOSE_TLS_ROUTE);
	assert_string_equal(h->exposure.host, "kbs.example.com");
	assert_string_equal(h->exposure.gateway.name, "g");
	assert_string_equal(h->exposure.gateway.ns, "infra");
	assert_string_equal(h->exposure.gateway.section, "tls");
	assert_int_equal(h->sessions.type, SESSIONS_REDIS);
	assert_true(h->sessions.url.given);
	assert_string_equal(h->sessions.url.name, "r");
	assert_string_equal(h->sessions.url.key, "url");
	assert_int_equal(h->npull_secrets, 2);
	assert_string_equal(h->pull_secrets[1].name, "z");
	assert_string_equal(h->image, "r/kbs");
	assert_string_equal(h->trustee_version, "v1.2.3");
	assert_int_equal(h->version_major, 1);
	assert_int_equal(h->version_minor, 2);
	assert_int_equal(h->drift, DRIFT_WARN);
	assert_true(h->metrics.service_monitor);
	assert_null(h->resources.requests);
	assert_int_equal(json_object_size(h->resources.limits), 1);
	assert_true(h->vault_given);
	assert_string_equal(h->vault.address, "https://v");
	assert_string_equal(h->vault.mount_path, "kv");
	assert_string_equal(h->vault.token.key, "k");
	assert_false(h->vault.ca.given);
	assert_false(h->image_policy_given);
}

static void test_trustee_fields(void **state)
{
	(void)state;
	static struct trustee_spec s;
	struct error err;
	json_t *object =
		yaml_tree("{spec: {" HOSTING_SPEC ", profileType: Restricted, allowDowngrade: true, httpsSpec: "
				  "{tlsSecretName: h}, attestationTokenVerificationSpec: {tlsSecretName: t}, ibmSE: {pvName: "
				  "p}, tlsConfig: {profile: modern, minVersion: '1.2', maxVersion: '1.3', ciphers: [A], "
				  "groups: [B, C]}, nvidia: Local, airGapped: true, secretResources: [], replicas: 3, "
				  "bindings: [{profileRef: {name: a}, resources: [x]}, {initdataDigests: ["
				  "'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'], resources: "
				  "[w, z]}]}}");
	if (trustee_decode(object, &s, &err) < 0)
		fail_msg("%s", err.msg);
	assert_hosting(&s.hosting);
	assert_int_equal(s.profile, TRUSTEE_RESTRICTED);
	assert_true(s.allow_downgrade);
	assert_string_equal(s.https_secret, "h");
	assert_string_equal(s.token_secret, "t");
	assert_true(s.ibm_se_given);
	assert_string_equal(s.ibm_se.pv_name, "p");
	assert_int_equal(s.tls.profile, TRUSTEE_TLS_MODERN);
	assert_string_equal(s.tls.min_version, "1.2");
	assert_string_equal(s.tls.max_version, "1.3");
	assert_int_equal(json_array_size(s.tls.ciphers), 1);
	assert_int_equal(json_array_size(s.tls.groups), 2);
	assert_int_equal(s.nvidia, NVIDIA_LOCAL);
	assert_true(s.air_gapped);
	assert_int_equal(s.replicas, 3);
	assert_true(s.replicas_given);
	assert_int_equal(s.nbindings, 2);
	assert_true(s.bindings[0].profile_given);
	assert_string_equal(s.bindings[0].profile.name, "a");
	assert_null(s.bindings[0].profile.ns);
	assert_false(s.bindings[1].profile_given);
	assert_int_equal(json_array_size(s.bindings[1].digests), 1);
	assert_int_equal(json_array_size(s.bindings[1].resources), 2);
	json_decref(object);
}

static void test_kbs_fields(void **state)
{
	(void)state;
	static struct kbs_spec s;
	struct error err;
	json_t *object = yaml_tree(
		"{spec: {" HOSTING_SPEC
		", kbsConfigMapName: a1, kbsAsConfigMapName: a2, kbsRvpsConfigMapName: a3, kbsRvpsRefValuesConfigMapName: a4, "
		"kbsAttestationPolicyConfigMapName: a5, kbsGpuAttestationPolicyConfigMapName: a6, "
		"kbsResourcePolicyConfigMapName: "
		"'', kbsAuthSecretName: b1, kbsHttpsKeySecretName: b2, kbsHttpsCertSecretName: b3, "
		"kbsAttestationKeySecretName: "
		"b4, kbsAttestationCertSecretName: b5, kbsDeploymentType: MicroservicesDeployment, kbsSecretResources: [s], "
		"ibmSEConfigSpec: {certStorePvc: p}, KbsEnvVars: {A: b}, kbsLocalCertCacheSpec: {secrets: [{secretName: c}, "
		"{secretName: d, mountPath: /d}]}, KbsDeploymentSpec: {replicas: 2}}}");
	if (kbs_decode(object, &s, &err) < 0)
		fail_msg("%s", err.msg);
	assert_hosting(&s.hosting);
	const char *const names[][2] = {
		{s.config_maps.kbs, "a1"},
		{s.config_maps.as, "a2"},
		{s.config_maps.rvps, "a3"},
		{s.config_maps.reference_values, "a4"},
		{s.config_maps.attestation_policy, "a5"},
		{s.config_maps.gpu_attestation_policy, "a6"},
		{s.config_maps.resource_policy, NULL},
		{s.secrets.auth, "b1"},
		{s.secrets.https_key, "b2"},
		{s.secrets.https_cert, "b3"},
		{s.secrets.attestation_key, "b4"},
		{s.secrets.attestation_cert, "b5"},
		{s.ibm_se.cert_store_pvc, "p"},
		{json_string_value(json_object_get(s.env, "A")), "b"},
		{s.cert_caches.v[0].secret, "c"},
		{s.cert_caches.v[0].mount_path, KBS_CERT_CACHE_PATH},
		{s.cert_caches.v[1].secret, "d"},
		{s.cert_caches.v[1].mount_path, "/d"},
	};
	for (size_t i = 0; i < COUNT(names); i++)
		assert_text(names[i][0], names[i][1]);
	assert_int_equal(s.deployment, KBS_MICROSERVICES);
	assert_int_equal(s.cert_caches.n, 2);
	assert_int_equal(json_array_size(s.secret_resources), 1);
	assert_int_equal(s.replicas, 2);
	json_decref(object);
}

static void test_image_policy(void **state)
{
	(void)state;
	static struct trustee_spec t;
	struct error err;
	json_t *object = yaml_tree("{spec: {imagePolicy: {configMapKeyRef: {name: c, key: k}}}}");
	assert_int_equal(trustee_decode(object, &t, &err), 0);
	assert_true(t.hosting.image_policy_given);
	assert_string_equal(t.hosting.image_policy.name, "signed");
	assert_null(t.hosting.image_policy.text);
	assert_true(t.hosting.image_policy.config_map.given);
	assert_string_equal(t.hosting.image_policy.config_map.name, "c");
	json_decref(object);
}

static void test_defaults(void **state)
{
	(void)state;
	static struct trustee_spec t;
	static struct kbs_spec k;
	struct error err;
	json_t *object = yaml_tree("{spec: null}");
	assert_int_equal(trustee_decode(object, &t, &err), 0);
	assert_int_equal(kbs_decode(object, &k, &err), 0);
	assert_int_equal(t.profile, TRUSTEE_PERMISSIVE);
	assert_int_equal(t.tls.profile, TRUSTEE_TLS_INTERMEDIATE);
	assert_int_equal(t.nvidia, NVIDIA_OFF);
	assert_false(t.replicas_given);
	assert_int_equal(k.replicas, 1);
	assert_int_equal(k.deployment, KBS_ALL_IN_ONE);
	assert_null(k.hosting.instance_name);
	assert_string_equal(k.hosting.service_type, "ClusterIP");
	assert_string_equal(k.hosting.vault.mount_path, "secret");
	assert_int_equal(k.hosting.exposure.type, EXPOSE_AUTO);
	assert_int_equal(k.hosting.sessions.type, SESSIONS_MEMORY);
	assert_int_equal(k.hosting.drift, DRIFT_ENFORCE);
	assert_int_equal(k.hosting.version_major, 0);
	assert_int_equal(k.hosting.version_minor, 21);
	json_decref(object);
}

static void test_long_name(void **state)
{
	(void)state;
	static struct trustee_spec t;
	static struct kbs_spec k;
	struct error err;
	json_t *object = yaml_tree("{metadata: {name: " LONG_63 "}}");
	assert_int_equal(trustee_decode(object, &t, &err), 0);
	json_decref(object);
	object = yaml_tree("{metadata: {name: " LONG_63 "4}}");
	assert_int_equal(trustee_decode(object, &t, &err), -EINVAL);
	assert_string_equal(err.msg,
						"metadata.name is \"" LONG_63
						"4\", of 64 characters; it becomes the value of a label, which has at most 63: choose a "
						"shorter one");
	assert_int_equal(kbs_decode(object, &k, &err), 0);
	json_decref(object);
}

// ---- Back from Restricted

static struct downgrade_case {
	const char *name;
	const char *old;
	const char *now;
	bool refused;
} downgrade_cases[] = {
	{"downgrade", "spec: {profileType: Restricted}", "spec: {profileType: Permissive}", true},
	{"downgrade: left out", "spec: {profileType: Restricted}", "spec: {}", true},
	{"downgrade: no spec", "spec: {profileType: Restricted}", "metadata: {}", true},
	{"downgrade: allowed before, not now", "spec: {profileType: Restricted, allowDowngrade: true}",
	 "spec: {profileType: Permissive}", true},
	{"downgrade: not allowed", "spec: {profileType: Restricted}",
	 "spec: {profileType: Permissive, allowDowngrade: false}", true},
	{"downgrade: allowed by a text", "spec: {profileType: Restricted}",
	 "spec: {profileType: Permissive, allowDowngrade: 'true'}", true},
	{"downgrade: allowed", "spec: {profileType: Restricted}", "spec: {profileType: Permissive, allowDowngrade: true}",
	 false},
	{"no downgrade: up", "spec: {profileType: Permissive}", "spec: {profileType: Restricted}", false},
	{"no downgrade: stays", "spec: {profileType: Restricted}", "spec: {profileType: Restricted, replicas: 2}", false},
	{"no downgrade: never was", "spec: {}", "spec: {profileType: Permissive}", false},
};

static void test_downgrade(void **state)
{
	const struct downgrade_case *row = *state;
	struct error err;
	CLEANUP_FREE
	char *old_text = xasprintf("{%s}", row->old);
	CLEANUP_FREE
	char *now_text = xasprintf("{%s}", row->now);
	json_t *old = yaml_tree(old_text);
	json_t *now = yaml_tree(now_text);
	int rc = trustee_check_downgrade(now, old, &err);
	assert_int_equal(rc, row->refused ? -EINVAL : 0);
	if (row->refused)
		assert_string_equal(err.msg,
							"spec.profileType goes from Restricted to Permissive, which releases every resource "
							"to any guest; if that is meant, set spec.allowDowngrade: true as well");
	json_decref(old);
	json_decref(now);
}

// ---- Who has the names

#define T_(name, more) "{kind: TrusteeConfig, metadata: {name: " name more "}"
#define K_(name, more) "{kind: KbsConfig, metadata: {name: " name more "}"
#define AT(time) ", creationTimestamp: '2026-01-01T00:00:0" time "Z'"
#define IN_TWO ", spec: {instanceName: two}}"

static struct rival_case {
	const char *name;
	const char *object;
	const char *others;
	const char *rival; // NULL: none
} rival_cases[] = {
	{"names: alone", T_("a", "") "}", "[]", NULL},
	{"names: itself", T_("a", "") "}", "[" T_("a", AT("1")) "}]", NULL},
	{"names: a second TrusteeConfig", T_("b", "") "}", "[" T_("a", AT("1")) "}]", "a"},
	{"names: a second KbsConfig", K_("b", "") "}", "[" K_("a", AT("1")) "}]", "a"},
	{"names: its own KbsConfig", T_("a", "") "}", "[" K_("a-kbs-config", AT("1")) "}]", NULL},
	{"names: of its TrusteeConfig", K_("a-kbs-config", "") "}", "[" T_("a", AT("1")) "}]", NULL},
	{"names: of no TrusteeConfig", K_("a", "") "}", "[" T_("a", AT("1")) "}]", "a"},
	{"names: of a longer TrusteeConfig", K_("a-kbs-config", "") "}", "[" T_("a-kbs", AT("1")) "}]", "a-kbs"},
	{"names: another's KbsConfig", T_("b", "") "}", "[" K_("a-kbs-config", AT("1")) "}]", "a-kbs-config"},
	{"names: other instances", T_("b", "") IN_TWO, "[" T_("a", AT("1")) "}, " K_("a-kbs-config", AT("2")) "}]", NULL},
	{"names: the same instance", T_("b", "") IN_TWO, "[" T_("a", AT("1")) "}, " T_("c", AT("2")) IN_TWO "]", "c"},
	{"names: an empty instance is none", T_("b", "") ", spec: {instanceName: ''}}", "[" T_("a", AT("1")) "}]", "a"},
	{"names: the oldest", T_("b", "") "}", "[" T_("c", AT("3")) "}, " T_("d", AT("2")) "}, " K_("e", AT("4")) "}]",
	 "d"},
	{"names: as old, by name", T_("b", "") "}", "[" T_("d", AT("2")) "}, " T_("c", AT("2")) "}]", "c"},
	{"names: what isn't stored yet is younger", T_("b", "") "}", "[" T_("c", "") "}, " T_("d", AT("2")) "}]", "d"},
	{"names: others in odd shapes", T_("b", "") "}", "[{}, 1, {kind: 2, spec: []}]", ""},
};

static void test_rival(void **state)
{
	const struct rival_case *row = *state;
	json_t *object = yaml_tree(row->object);
	json_t *others = yaml_tree(row->others);
	const json_t *rival = trustee_rival(object, others);
	assert_text(rival != NULL ? kube_name(rival) : NULL, row->rival);
	json_decref(object);
	json_decref(others);
}

static void test_older(void **state)
{
	(void)state;
	json_t *a = yaml_tree(T_("a", AT("1")) "}");
	json_t *b = yaml_tree(T_("b", AT("1")) "}");
	json_t *c = yaml_tree(T_("0", AT("2")) "}");
	json_t *unstored = yaml_tree(T_("0", "") "}");
	assert_true(trustee_is_older(a, b));
	assert_false(trustee_is_older(b, a));
	assert_true(trustee_is_older(b, c));
	assert_false(trustee_is_older(c, b));
	assert_false(trustee_is_older(a, a));
	assert_true(trustee_is_older(a, unstored));
	assert_false(trustee_is_older(unstored, a));
	assert_false(trustee_is_older(unstored, unstored));
	json_t *another = yaml_tree(T_("b", "") "}");
	json_t *first = yaml_tree(T_("a", "") "}");
	assert_true(trustee_is_older(first, another));
	assert_false(trustee_is_older(another, first));
	json_decref(first);
	json_decref(another);
	json_decref(a);
	json_decref(b);
	json_decref(c);
	json_decref(unstored);
}

// ---- Volumes

static struct volume_case {
	const char *name;
	const char *secret;
	const char *volume;
} volume_cases[] = {
	{"volume: a label", "attestation-status", "secret-attestation-status"},
	{"volume: dots", "a.b", "secret0-a-b-2e7336dc8e"},
	{"volume: as many as fit", "a123456789a123456789a123456789a123456789a123456789a12345",
	 "secret-a123456789a123456789a123456789a123456789a123456789a12345"},
	{"volume: one more", "a123456789a123456789a123456789a123456789a123456789a123456",
	 "secret0-a123456789a123456789a123456789a123456789a123-809959ec37"},
};

static void test_volume(void **state)
{
	const struct volume_case *row = *state;
	struct buf name = BUF_INIT(128);
	trustee_volume_name("secret", row->secret, &name);
	assert_string_equal(buf_z(&name), row->volume);
	assert_true(is_dns_label(buf_z(&name)));
	buf_release(&name);
}

// ---- The names themselves

static struct label_case {
	const char *name;
	const char *text;
	bool subdomain, label;
} label_cases[] = {
	{"name: a", "a", true, true},
	{"name: digits", "0", true, true},
	{"name: dots", "a.b-c.d", true, false},
	{"name: 63", LONG_63, true, true},
	{"name: 64", LONG_63 "4", true, false},
	{"name: empty", "", false, false},
	{"name: nothing", NULL, false, false},
	{"name: upper case", "A", false, false},
	{"name: hyphen first", "-a", false, false},
	{"name: hyphen last", "a-", false, false},
	{"name: dot first", ".a", false, false},
	{"name: dot last", "a.", false, false},
	{"name: two dots", "a..b", false, false},
	{"name: hyphen before a dot", "a-.b", false, false},
	{"name: hyphen after a dot", "a.-b", false, false},
	{"name: newline", "a\n", false, false},
};

static void test_label(void **state)
{
	const struct label_case *row = *state;
	assert_int_equal(is_subdomain(row->text), row->subdomain);
	assert_int_equal(is_dns_label(row->text), row->label);
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, trustee_cases, test_trustee);
	ADD_TABLE(&t, hosting_cases, test_hosting);
	ADD_TABLE(&t, kbs_cases, test_kbs);
	tests_add(&t, "fields of a TrusteeConfig", test_trustee_fields, NULL);
	tests_add(&t, "fields of a KbsConfig", test_kbs_fields, NULL);
	tests_add(&t, "fields of an image policy", test_image_policy, NULL);
	tests_add(&t, "defaults", test_defaults, NULL);
	tests_add(&t, "a TrusteeConfig's name is a label's value", test_long_name, NULL);
	ADD_TABLE(&t, downgrade_cases, test_downgrade);
	ADD_TABLE(&t, rival_cases, test_rival);
	tests_add(&t, "who is older", test_older, NULL);
	ADD_TABLE(&t, volume_cases, test_volume);
	ADD_TABLE(&t, label_cases, test_label);
	return tests_run("trustee", &t);
}
