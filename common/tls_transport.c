#include "common/tls_transport.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/mem.h"

#define HELD_MAX 512          // an answer's header, encrypted
#define AHEAD_MAX (17 * 1024) // a TLS record of the largest size, and some
#define PUSH_PARTS 8          // of GnuTLS in one call; it sends the rest itself

struct tls_transport {
	gnutls_session_t session;
	int fd;
	struct tls_owner owner;
	struct tls_pair *pair; // NULL until the handshake has asked for it

	char *ahead; // NULL while nothing is read ahead
	size_t ahead_at;
	size_t ahead_n;
	uint64_t taken;

	bool hold_next;
	size_t held_n;
	char held[HELD_MAX];
};

// ---- Reading

// The socket's own EAGAIN is always passed on, since libmicrohttpd's epoll is edge-triggered.
static ssize_t read_ahead(struct tls_transport *t, void *data, size_t n)
{
	char *ahead = xreallocarray(NULL, AHEAD_MAX, 1);
	struct iovec parts[] = {{data, n}, {ahead, AHEAD_MAX}};
	ssize_t got = readv(t->fd, parts, 2);
	if (got < 0)
		gnutls_transport_set_errno(t->session, errno);
	if (got <= (ssize_t)n) {
		free(ahead);
		return got;
	}
	t->ahead = ahead;
	t->ahead_at = 0;
	t->ahead_n = (size_t)got - n;
	return (ssize_t)n;
}

static ssize_t take_ahead(struct tls_transport *t, void *data, size_t n)
{
	size_t left = t->ahead_n;
	size_t took = n < left ? n : left;
	memcpy(data, t->ahead + t->ahead_at, took);
	t->ahead_at += took;
	t->ahead_n = left - took;
	if (took == left) {
		free(t->ahead);
		t->ahead = NULL;
	}
	return (ssize_t)took;
}

static ssize_t pull(gnutls_transport_ptr_t transport, void *data, size_t n)
{
	struct tls_transport *t = transport;
	ssize_t got = t->ahead != NULL ? take_ahead(t, data, n) : read_ahead(t, data, n);
	if (got > 0)
		t->taken += (uint64_t)got;
	return got;
}

uint64_t tls_transport_taken(const struct tls_transport *t)
{
	return t->taken;
}

// ---- Writing

void tls_transport_hold_next(struct tls_transport *t)
{
	t->hold_next = true;
}

// Bytes held, or -1 when there is no room for them.
static ssize_t hold(struct tls_transport *t, const giovec_t *parts, int n)
{
	size_t total = 0;
	for (int i = 0; i < n; i++) {
		if (parts[i].iov_len > HELD_MAX - t->held_n - total)
			return -1;
		if (parts[i].iov_len > 0)
			memcpy(t->held + t->held_n + total, parts[i].iov_base, parts[i].iov_len);
		total += parts[i].iov_len;
	}
	t->held_n += total;
	return (ssize_t)total;
}

// What was sent beyond the held bytes; those that were not stay held.
static ssize_t without_held(struct tls_transport *t, size_t sent)
{
	size_t of_held = sent < t->held_n ? sent : t->held_n;
	t->held_n -= of_held;
	memmove(t->held, t->held + of_held, t->held_n);
	if (sent > of_held)
		return (ssize_t)(sent - of_held);
	errno = EAGAIN;
	return -1;
}

static ssize_t push(gnutls_transport_ptr_t transport, const giovec_t *parts, int n)
{
	struct tls_transport *t = transport;
	bool wait = t->hold_next;
	t->hold_next = false;
	ssize_t sent = wait ? hold(t, parts, n) : -1;
	if (sent >= 0)
		return sent;
	struct iovec out[1 + PUSH_PARTS];
	size_t used = 0;
	if (t->held_n > 0)
		out[used++] = (struct iovec){t->held, t->held_n};
	for (int i = 0; i < n && i < PUSH_PARTS; i++)
		out[used++] = (struct iovec){parts[i].iov_base, parts[i].iov_len};
	const struct msghdr msg = {.msg_iov = out, .msg_iovlen = used};
	sent = sendmsg(t->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent >= 0 && t->held_n > 0)
		sent = without_held(t, (size_t)sent);
	if (sent < 0)
		gnutls_transport_set_errno(t->session, errno);
	return sent;
}

void tls_transport_last_words(struct tls_transport *t, const void *data, size_t n)
{
	(void)gnutls_record_send(t->session, data, n);
}

// ---- Handshakes

// GnuTLS keeps these pointers in the session (selected_cert_list, selected_key) and neither copies nor frees them:
// handshakes that wait for the peer use them later, a renegotiation could. So the reference is kept to the end. An old
// pair goes with the last connection that began with it: no guess about how long a handshake may take.
int tls_transport_certificate(gnutls_session_t session, const gnutls_datum_t *req_ca_dn, int nreqs,
							  const gnutls_pk_algorithm_t *algos, int nalgos, gnutls_pcert_st **ret_chain,
							  unsigned int *ret_n, gnutls_privkey_t *ret_key)
{
	(void)req_ca_dn;
	(void)nreqs;
	(void)algos;
	(void)nalgos;
	struct tls_transport *t = gnutls_session_get_ptr(session);
	if (t->pair == NULL)
		t->pair = t->owner.pair(t->owner.ctx);
	tls_pair_parts(t->pair, ret_chain, ret_n, ret_key);
	return 0;
}

static int on_finished(gnutls_session_t session, unsigned int type, unsigned int when, unsigned int incoming,
					   const gnutls_datum_t *msg)
{
	(void)type;
	(void)when;
	(void)msg;
	const struct tls_transport *t = gnutls_session_get_ptr(session);
	if (incoming != 0)
		t->owner.shaken(t->owner.ctx);
	return 0;
}

struct tls_transport *tls_transport_new(gnutls_session_t session, int fd, const struct tls_owner *owner)
{
	struct tls_transport *t = xcalloc(1, sizeof(*t));
	t->session = session;
	t->fd = fd;
	t->owner = *owner;
	gnutls_transport_set_ptr(session, t);
	gnutls_transport_set_pull_function(session, pull);
	gnutls_transport_set_vec_push_function(session, push);
	// libmicrohttpd sets this pointer to its own connection, for PSK only.
	gnutls_session_set_ptr(session, t);
	gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_finished);
	return t;
}

void tls_transport_free(struct tls_transport *t)
{
	if (t == NULL)
		return;
	tls_pair_unref(t->pair);
	free(t->ahead);
	free(t);
}
