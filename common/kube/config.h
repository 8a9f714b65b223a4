// Where the API server is, whom to trust, and who we are: from kubeconfig files, or from the pod's service account.
//
// As client-go's clientcmd does it: KUBECONFIG may name several files, whose maps are merged (the first that sets an entry
// or current-context wins); relative paths are relative to their file; inline data wins over a file's, but a token's file
// over the inline token, which then counts only while the file can't be read; a token or a client certificate of its own
// wins over the user's exec plugin; over http:// no credential is sent. Fields that we don't know are ignored.
//
// What would be ignored to the user's harm is an error: user name and password, auth-provider, impersonation, a plugin
// that wants a terminal, a key without its certificate.
#ifndef COCO_COMMON_KUBE_CONFIG_H
#define COCO_COMMON_KUBE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"

#define KUBE_CONFIG_FILE_MAX ((size_t)4 * 1024 * 1024)
#define KUBE_PEM_MAX ((size_t)1024 * 1024)
#define KUBE_TOKEN_MAX ((size_t)64 * 1024)

// A text that is given inline or in a file, which is read again each time that it is needed. Both NULL: none.
struct kube_text {
	char *data; // decoded
	char *file; // absolute
};

// A credential plugin (client.authentication.k8s.io v1, v1beta1).
struct kube_exec {
	char *api_version;
	char *command; // absolute, or looked up in PATH
	char **args;   // ends in NULL
	char **env;    // "NAME=value", added to ours; ends in NULL
	char *install_hint;
	bool provide_cluster_info;
	char *cluster_config; // for it: JSON of the cluster's extension client.authentication.k8s.io/exec; NULL for none
};

struct kube_config {
	char *origin; // for messages: "/home/a/.kube/config, context b", "the pod's service account"
	char *server; // https://HOST[:PORT][/PREFIX], without a trailing '/'
	char *host;   // of server, an IPv6 address without brackets
	int port;
	char *path;            // PREFIX with its '/', or ""
	bool tls;              // false for http://
	char *tls_server_name; // NULL: host
	bool insecure;         // insecure-skip-tls-verify: programs warn loudly
	char *
		proxy_url; // http://, https:// or socks5://, perhaps with a password; NULL for none, and then the environment's isn't used either
	struct kube_text ca; // neither: the system's
	struct kube_text client_cert, client_key;
	struct kube_text token; // the file wins
	struct kube_exec *exec; // NULL for none
	char *ns;               // the context's namespace, "default" without one
};

// What a program was told: a file, or NULL for $KUBECONFIG, then the pod's service account, then ~/.kube/config.
// context NULL: current-context; with one, the pod's service account is out of the question. New; NULL with an error that
// names the file, the entry and the remedy. Files that it names must be there by now.
struct kube_config *kube_config_load(const char *file, const char *context, struct error *err)
	__attribute__((warn_unused_result, nonnull(3)));
// Where the service account is mounted; for tests. "" as env value of KUBERNETES_SERVICE_HOST means "not in a pod".
struct kube_config *kube_config_in_cluster(const char *folder, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Of texts that were read already, first wins; for tests and fuzzing. names: for messages and relative paths.
struct kube_config *kube_config_parse(const char *const *texts, const char *const *names, size_t n, const char *context,
									  struct error *err) __attribute__((warn_unused_result, nonnull(1, 2, 5)));
void kube_config_free(struct kube_config *c); // NULL is fine; wipes what is secret
#define CLEANUP_KUBE_CONFIG CLEANUP(kube_config_free_slot)
void kube_config_free_slot(struct kube_config **slot) __attribute__((nonnull));

// Appends the text, data before file; nothing for none. -errno with the file's name.
int kube_text_read(const struct kube_text *t, struct buf *out, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#define KUBE_SERVICE_ACCOUNT_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

#endif
