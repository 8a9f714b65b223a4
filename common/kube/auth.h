// Who we say we are: a bearer token or a client certificate, kept fresh. Thread-safe.
//
// A token file is read again at least once a minute, and at once after a 401. Where that fails, the token that was read
// last stays in use, until it is refused; after that the config's inline token, where there is one. An exec plugin
// (kube/exec.h) runs when its credential is missing, is about to expire or was refused; callers that come meanwhile wait
// for that one run and share its failure. Tokens never reach messages.
#ifndef COCO_COMMON_KUBE_AUTH_H
#define COCO_COMMON_KUBE_AUTH_H

#include <openssl/ssl.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/kube/config.h"

#define KUBE_TOKEN_REREAD_MS 60000
#define KUBE_EXEC_EARLY_MS 30000 // before its expiry a plugin's credential is made anew, or at 3/4 of a short life

struct kube_auth;

// config and clock are borrowed for its life.
struct kube_auth *kube_auth_new(const struct kube_config *config, const struct clock *clock)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
void kube_auth_free(struct kube_auth *a); // NULL is fine; wipes

// Appends the token for "Authorization: Bearer TOKEN", nothing where there is none to send. May run the plugin, so it may
// take a while. *ret_serial tells this credential from the next, for kube_auth_refused(). out is the caller's to wipe:
// one with KUBE_TOKEN_MAX of room from the start (secret_buf()) leaves no copies behind.
int kube_auth_token(struct kube_auth *a, struct buf *out, unsigned *ret_serial, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// The API server answered 401 to the credential of that serial: it is not used again without having been read anew. true
// where there may be another now, so that one more try makes sense.
bool kube_auth_refused(struct kube_auth *a, unsigned serial) __attribute__((nonnull));

// Sets a new SSL context up for talking to the API server, for libcurl's CURLOPT_SSL_CTX_FUNCTION and libwebsockets'
// LWS_CALLBACK_OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS alike, so that trust is decided in one place: TLS 1.2 or later, the
// config's CA alone where it has one (read anew, so that a renewed CA counts from the next connection on), the system's
// otherwise, the client certificate with its key, peer verification unless insecure. Host names are for the caller. As
// with client-go, any certificate of the CA's file is trusted as it is, self-signed or not. May run the plugin.
// libcurl may add its own CAs to the store afterwards, or put one from its cache in its place: its users set
// CURLOPT_CAINFO and CURLOPT_CAPATH to NULL and CURLOPT_CA_CACHE_TIMEOUT to 0.
int kube_auth_setup_tls(struct kube_auth *a, SSL_CTX *ctx, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// Changes when the material of kube_auth_setup_tls() did (files on disk, the plugin's certificate): open connections made
// with another value are still good, new ones should be set up anew. Cheap enough for once a second.
unsigned kube_auth_tls_generation(struct kube_auth *a) __attribute__((nonnull));

#endif
