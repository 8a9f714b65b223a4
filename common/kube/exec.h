// Credential plugins: programs that print an ExecCredential (client.authentication.k8s.io), as client-go runs them.
//
// A plugin has no terminal: its standard input is empty, and it is told so. It gets at most its time and
// KUBE_EXEC_OUTPUT_MAX of output; then it is killed with all its process group. Tokens never reach messages; what it says
// on stderr does, cut.
#ifndef COCO_COMMON_KUBE_EXEC_H
#define COCO_COMMON_KUBE_EXEC_H

#include <stdint.h>

#include "common/error.h"
#include "common/kube/config.h"
#include "common/str.h"

#define KUBE_EXEC_TIMEOUT_S 60
#define KUBE_EXEC_OUTPUT_MAX ((size_t)1024 * 1024)
#define KUBE_EXEC_STDERR_MAX ((size_t)400) // of which the beginning is quoted

struct kube_credential {
	char *token;        // NULL for none
	char *cert, *key;   // PEM; NULL for none
	int64_t expires_ms; // on the wall's clock; INT64_MAX: not said
};

void kube_credential_release(struct kube_credential *c) __attribute__((nonnull)); // wipes
#define CLEANUP_KUBE_CREDENTIAL CLEANUP(kube_credential_release)

// What the plugin printed. api_version: which it must be of.
int kube_credential_parse(struct str text, const char *api_version, struct kube_credential *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// A token as it goes into a header: not empty, at most KUBE_TOKEN_MAX, no spaces or control characters. what: for the
// message, which doesn't show it.
int kube_token_check(struct str token, const char *what, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Appends the text for KUBERNETES_EXEC_INFO. Reads the CA's file where the plugin is to know it.
int kube_exec_info(const struct kube_config *config, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Runs config->exec and waits for it.
int kube_exec_run(const struct kube_config *config, int timeout_ms, struct kube_credential *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
