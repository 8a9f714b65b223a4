// kbs-config.toml: what the KBS is started with. PURE
//
// Written from a tree by common/toml, never by pasting strings: a value can't become a line. What the wanted version has no
// words for is an error where leaving it out would weaken it, and is left out where it would not.
#ifndef COCO_CONTROLLER_KBS_CONFIG_H
#define COCO_CONTROLLER_KBS_CONFIG_H

#include "common/buf.h"
#include "common/error.h"
#include "common/trustee.h"
#include "controller/trustee_dialect.h"

// Where the Deployment mounts what the configuration names; upstream's paths.
#define KBS_HTTPS_KEY "/etc/https-key/privateKey"
#define KBS_HTTPS_CERT "/etc/https-cert/certificate"
#define KBS_TOKEN_KEY "/etc/attestation-key/token.key"
#define KBS_TOKEN_CERT "/etc/attestation-cert/token.crt"
#define KBS_ADMIN_KEY "/etc/auth-secret/publicKey"
#define KBS_VAULT_CA "/etc/vault-ca/ca.crt"
#define KBS_COLLATERAL "file:///opt/confidential-containers/attestation-service/collateral"
#define KBS_PORT 8080
#define KBS_TOKEN_MINUTES 5

struct kbs_config_input {
	const struct trustee_dialect *dialect;
	bool https;         // with the key and certificate mounted
	bool token_signer;  // with the key and certificate mounted; else tokens are believed by the key that they bring
	bool microservices; // the attestation service is a container of its own
	int tls;            // enum trustee_tls
	const char *tls_min, *tls_max;          // of custom
	const json_t *tls_ciphers, *tls_groups; // of custom
	int nvidia;                             // enum nvidia_verifier
	bool air_gapped;
	struct {
		const char *address; // NULL: resources are files
		const char *mount_path;
		const char *token; // secret: the text that is written has it, so it belongs in a Secret
		bool ca;           // with the CA mounted
	} vault;
	int sessions;             // enum session_storage
	const char *sessions_url; // of Redis: secret, as the token is; NULL for the others, whose address is a variable
};

// Appends the TOML. The same input gives the same bytes. -ENOTSUP: the version can't do what is asked for.
int kbs_config_write(const struct kbs_config_input *in, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Whether the text holds a secret (Vault's token, the address of Redis): then it is kept in a Secret, else in a ConfigMap.
bool kbs_config_is_secret(const struct trustee_hosting *h) __attribute__((nonnull));

#endif
