// What carries libmicrohttpd's TLS sessions over a socket: answers handshakes with a certificate, reads ahead, and
// sends an answer in one piece.
//
// GnuTLS reads a record's header and content with a call each, and libmicrohttpd sends an answer's header and body as
// two records. Here a read takes all that has come, and the header is held until the body goes with it: half the
// calls of the kernel, one segment and one wake-up of the peer.
//
// A transport belongs to the thread that runs its connection.
#ifndef COCO_COMMON_TLS_TRANSPORT_H
#define COCO_COMMON_TLS_TRANSPORT_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tls_pair.h"

// For MHD_OPTION_HTTPS_PRIORITIES. TLS 1.3 and 1.2, forward secrecy and AEAD only; what is cheapest goes first.
#define TLS_PRIORITIES                                                           \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA" \
	":-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD"   \
	":-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%SERVER_PRECEDENCE"

// For MHD_OPTION_HTTPS_CERT_CALLBACK: asks the session's transport, so each session needs one before its handshake.
gnutls_certificate_retrieve_function2 tls_transport_certificate;

struct tls_transport;

// What the transport asks and tells its owner, on the connection's thread.
struct tls_owner {
	// The pair to answer a handshake with. Takes the reference that this returns.
	struct tls_pair *(*pair)(void *ctx);
	// The peer's last message of the handshake has come.
	void (*shaken)(void *ctx);
	void *ctx;
};

// Puts itself between session and socket, in place of what was there. Both are borrowed: the socket until the session
// is gone, the session until then or tls_transport_free(). New. It can't fail.
struct tls_transport *tls_transport_new(gnutls_session_t session, int fd, const struct tls_owner *owner)
	__attribute__((warn_unused_result, nonnull, returns_nonnull));

// Takes t; NULL is fine. After gnutls_deinit(), or when the session is not used again but for that. What is still held
// goes unsent. The pair that the handshake was answered with lives until here, however often it was replaced since.
void tls_transport_free(struct tls_transport *t);

// The next record is held, until one more goes out with it: say so only where another follows for certain. A record
// that is too long for that goes out at once.
void tls_transport_hold_next(struct tls_transport *t) __attribute__((nonnull));

// Encrypts and sends at most n bytes without waiting, past libmicrohttpd: for last words on a connection that is about
// to be closed, as it doesn't say how many went.
void tls_transport_last_words(struct tls_transport *t, const void *data, size_t n) __attribute__((nonnull));

// Bytes that GnuTLS has taken so far, of all that came.
uint64_t tls_transport_taken(const struct tls_transport *t) __attribute__((nonnull));

#endif
