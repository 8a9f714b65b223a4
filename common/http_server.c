// How it hangs together.
//
// Each thread is an MHD daemon of its own with an epoll loop; all accept from one listening socket that belongs to
// us. MHD's own thread pool isn't used, since MHD 0.9.75 aborts the program when quiescing a pool races with a worker
// that takes the socket out of its epoll set.
//
// A connection is a struct conn from MHD_CONNECTION_NOTIFY_STARTED to _CLOSED. HTTP/1.1 has one request at a time on
// a connection, so the request lives in it: nothing is allocated per request but its body. Who touches what: the
// loop's thread all of it; the watch thread only what is marked so, and `lock` guards the list.
//
// Deadlines: MHD's connection timeout starts anew at each byte, so it only closes idle connections. A request's whole
// duration is watched by the watch thread, which shuts the socket of one that is overdue; MHD then sees its end.
//
// SIGPIPE: nobody needs to ignore it. MHD and GnuTLS send with MSG_NOSIGNAL, and so do we.
#include "common/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <inttypes.h>
#include <limits.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/tcp.h> // struct tcp_info with tcpi_bytes_received, which netinet/tcp.h of glibc lacks

#include "common/cleanup.h"
#include "common/log.h"
#include "common/mem.h"

#define RETRY_AFTER_S 1
#define CHAIN_MAX 16                   // certificates in a chain; GnuTLS sorts no more
#define RESERVE_MAX ((size_t)64 * 1024) // a body announced with at most this gets its memory at once
#define WATCH_MIN_MS 20
#define WATCH_MAX_MS 1000
#define QUIET_CHECK_MS 5
#define ALLOW_MAX 128
#define TEXT_MAX 1024
#define HELD_MAX 512            // an answer's header, encrypted
#define AHEAD_MAX (17 * 1024)   // a TLS record of the largest size, and some
#define PUSH_PARTS 8

// TLS 1.3 and 1.2, forward secrecy and AEAD only; what is cheapest to compute goes first.
static const char TLS_PRIORITIES[] =
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA"
	":-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD"
	":-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%SERVER_PRECEDENCE";

// A certificate chain and its key, immutable.
struct tls_pair {
	_Atomic unsigned refs;
	gnutls_pcert_st *chain;
	unsigned n;
	gnutls_privkey_t key;
};

// What a connection waits for; read by the watch thread.
enum phase {
	PHASE_IDLE,   // for a request: no deadline but MHD's idle timeout
	PHASE_OPEN,   // TLS: for the end of the handshake
	PHASE_BODY,   // for the rest of a request
	PHASE_ANSWER, // for the peer to take the answer
};

struct conn {
	struct http_server *s;
	struct conn *prev; // s->lock
	struct conn *next;
	int fd;
	gnutls_session_t tls;  // NULL: plain
	struct tls_pair *pair; // referenced; what the handshake was answered with

	// For the watch thread.
	_Atomic int phase;
	_Atomic int64_t since_ms; // when the phase began
	_Atomic unsigned turns;   // counts what ends a wait for a request: a handshake, a request
	// The watch thread's own.
	unsigned seen_turns;
	uint64_t seen_bytes;
	// What it says of the header that is coming in, for the loop's thread.
	_Atomic int64_t header_since_ms; // 0: no byte seen
	_Atomic unsigned header_turn;    // of which turn it speaks

	// The request under way.
	const struct http_route *route;
	bool head;  // HEAD
	int refuse; // 0, or the status that the request gets once it is complete
	struct buf body;
	size_t charged; // of the bodies' budget

	// TLS records on their way; see push_records() and pull_records().
	bool hold_next;
	size_t held_n;
	char *ahead;             // NULL while nothing is read ahead
	size_t ahead_at;
	_Atomic size_t ahead_n;  // bytes that GnuTLS hasn't taken yet
	char held[HELD_MAX];

};

struct loop {
	struct MHD_Daemon *daemon;
	int listen_fd; // a duplicate: MHD closes what it is given in some cases, and in some not
};

struct http_server {
	char *name;
	struct http_limits limits;
	const struct http_route *routes;
	size_t nroutes;
	char *paths; // for the text of 404
	bool tls;
	int listen_fd;
	uint16_t port;
	struct loop *loops;
	unsigned nloops;

	bool quiesced;
	_Atomic bool stopping;
	_Atomic unsigned active; // requests under way
	_Atomic unsigned connections;
	_Atomic uint64_t body_bytes;
	_Atomic uint64_t refused_413, refused_503, refused_408;

	pthread_mutex_t lock;
	pthread_cond_t changed; // watch: first connection, end; stop: the last request has ended
	struct conn *conns;
	struct tls_pair *pair; // for the next handshake
	bool watch_ends;
	bool watching;
	pthread_t watch;
};

// Where this thread wants to hear what MHD says: the reason why a daemon doesn't start comes as a message only.
static _Thread_local struct error *mhd_says;

static int64_t now_ms(void)
{
	struct timespec t = {0};
	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- Certificates

static void pair_free(struct tls_pair *p)
{
	for (unsigned i = 0; i < p->n; i++)
		gnutls_pcert_deinit(&p->chain[i]);
	free(p->chain);
	if (p->key != NULL)
		gnutls_privkey_deinit(p->key);
	free(p);
}

static void pair_unref(struct tls_pair *p)
{
	if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		pair_free(p);
}

static void cleanup_pair(struct tls_pair **p)
{
	pair_unref(*p);
}

static struct tls_pair *pair_ref(struct tls_pair *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

struct certificates {
	gnutls_x509_crt_t *list;
	unsigned n;
};

static void certificates_release(struct certificates *c)
{
	for (unsigned i = 0; i < c->n; i++)
		gnutls_x509_crt_deinit(c->list[i]);
	gnutls_free(c->list);
}

static void cleanup_pubkey(gnutls_pubkey_t *k)
{
	if (*k != NULL)
		gnutls_pubkey_deinit(*k);
}

static gnutls_datum_t datum(struct str s)
{
	// GnuTLS takes a pointer to non-const data that it only reads.
	union {
		const char *in;
		unsigned char *out;
	} p = {.in = s.p};
	return (gnutls_datum_t){p.out, (unsigned)s.n};
}

static int check_pem_size(struct str pem, const char *what, struct error *err)
{
	if (pem.p == NULL || pem.n == 0)
		return error_set(err, EINVAL, "the %s is empty: give it as PEM", what);
	if (pem.n > (size_t)1024 * 1024)
		return error_set(err, EINVAL, "the %s has %zu bytes: at most 1 MiB is read", what, pem.n);
	return 0;
}

static int check_algorithm(gnutls_x509_crt_t leaf, struct error *err)
{
	int algorithm = gnutls_x509_crt_get_pk_algorithm(leaf, NULL);
	switch (algorithm) {
	case GNUTLS_PK_RSA:
	case GNUTLS_PK_RSA_PSS:
	case GNUTLS_PK_ECDSA:
	case GNUTLS_PK_EDDSA_ED25519:
		return 0;
	default:
		return error_set(err, EINVAL,
				 "the certificate has a key of type %s: use RSA, ECDSA (P-256, P-384) or Ed25519",
				 algorithm >= 0 ? gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm) : "unknown");
	}
}

static int load_chain(struct tls_pair *pair, struct certificates *certs, struct str pem, struct error *err)
{
	if (check_pem_size(pem, "certificate", err) < 0)
		return -err->code;
	gnutls_datum_t d = datum(pem);
	int r = gnutls_x509_crt_list_import2(&certs->list, &certs->n, &d, GNUTLS_X509_FMT_PEM, 0);
	if (r < 0) {
		certs->list = NULL;
		certs->n = 0;
		return error_set(err, EINVAL, "the certificate can't be read: %s: it must be PEM, server's first",
				 gnutls_strerror(r));
	}
	if (certs->n == 0 || certs->n > CHAIN_MAX)
		return error_set(err, EINVAL, "the certificate chain has %u certificates: 1 to %d can be used", certs->n,
				 CHAIN_MAX);
	if (check_algorithm(certs->list[0], err) < 0)
		return -err->code;
	pair->chain = xcalloc(certs->n, sizeof(*pair->chain));
	unsigned n = certs->n;
	r = gnutls_pcert_import_x509_list(pair->chain, certs->list, &n, GNUTLS_X509_CRT_LIST_SORT);
	if (r < 0)
		return error_set(err, EINVAL, "the certificate chain can't be used: %s: put the server's certificate "
				 "first, then each one's issuer", gnutls_strerror(r));
	pair->n = n;
	return 0;
}

static int load_key(struct tls_pair *pair, struct str pem, struct error *err)
{
	if (check_pem_size(pem, "private key", err) < 0)
		return -err->code;
	int r = gnutls_privkey_init(&pair->key);
	if (r < 0) {
		pair->key = NULL;
		return error_set(err, ENOMEM, "no memory for the private key: %s", gnutls_strerror(r));
	}
	gnutls_datum_t d = datum(pem);
	r = gnutls_privkey_import_x509_raw(pair->key, &d, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (r == GNUTLS_E_DECRYPTION_FAILED)
		return error_set(err, EINVAL, "the private key is encrypted: give it without a password");
	if (r < 0)
		return error_set(err, EINVAL, "the private key can't be read: %s: it must be PEM (PKCS#8, or EC or RSA "
				 "PRIVATE KEY)", gnutls_strerror(r));
	return 0;
}

static int check_match(const struct tls_pair *pair, gnutls_x509_crt_t leaf, struct error *err)
{
	unsigned char of_cert[32];
	unsigned char of_key[32];
	size_t ncert = sizeof(of_cert);
	size_t nkey = sizeof(of_key);
	gnutls_pubkey_t pub CLEANUP(cleanup_pubkey) = NULL;
	int r = gnutls_pubkey_init(&pub);
	if (r >= 0)
		r = gnutls_pubkey_import_privkey(pub, pair->key, 0, 0);
	if (r >= 0)
		r = gnutls_pubkey_get_key_id(pub, GNUTLS_KEYID_USE_SHA256, of_key, &nkey);
	if (r >= 0)
		r = gnutls_x509_crt_get_key_id(leaf, GNUTLS_KEYID_USE_SHA256, of_cert, &ncert);
	if (r < 0)
		return error_set(err, EINVAL, "the private key can't be compared with the certificate: %s: make a new pair",
				 gnutls_strerror(r));
	if (nkey != ncert || memcmp(of_key, of_cert, nkey) != 0)
		return error_set(err, EINVAL, "the private key isn't the certificate's: replace both together");
	return 0;
}

// New.
static struct tls_pair *pair_load(struct str cert_pem, struct str key_pem, struct error *err)
{
	struct tls_pair *pair CLEANUP(cleanup_pair) = xcalloc(1, sizeof(*pair));
	pair->refs = 1;
	struct certificates certs CLEANUP(certificates_release) = {0};
	// The key is read from the caller's memory: GnuTLS wipes what it decodes on the way, and no copy is ours.
	if (load_chain(pair, &certs, cert_pem, err) < 0 || load_key(pair, key_pem, err) < 0 ||
	    check_match(pair, certs.list[0], err) < 0)
		return NULL;
	return TAKE_PTR(pair);
}

// GnuTLS keeps the pointers that it gets here in the session (selected_cert_list, selected_key) and neither copies
// nor frees them: handshakes that wait for the peer use them later, a renegotiation could. So the connection holds a
// reference from its first handshake message until MHD has closed it, which is after gnutls_deinit(). An old pair
// goes with the last connection that began with it: no guess about how long a handshake may take.
static int pick_certificate(gnutls_session_t session, const gnutls_datum_t *req_ca_dn, int nreqs,
			    const gnutls_pk_algorithm_t *algos, int nalgos, gnutls_pcert_st **ret_chain,
			    unsigned int *ret_n, gnutls_privkey_t *ret_key)
{
	(void)req_ca_dn;
	(void)nreqs;
	(void)algos;
	(void)nalgos;
	struct conn *conn = gnutls_session_get_ptr(session);
	if (conn->pair == NULL) {
		(void)pthread_mutex_lock(&conn->s->lock);
		conn->pair = pair_ref(conn->s->pair);
		(void)pthread_mutex_unlock(&conn->s->lock);
	}
	*ret_chain = conn->pair->chain;
	*ret_n = conn->pair->n;
	*ret_key = conn->pair->key;
	return 0;
}

int http_server_set_certificate(struct http_server *s, struct str cert_pem, struct str key_pem, struct error *err)
{
	if (!s->tls)
		return error_set(err, EINVAL, "server %s speaks plain HTTP: it takes no certificate", s->name);
	struct tls_pair *pair = pair_load(cert_pem, key_pem, err);
	if (pair == NULL)
		return -err->code;
	(void)pthread_mutex_lock(&s->lock);
	struct tls_pair *old = s->pair;
	s->pair = pair;
	(void)pthread_mutex_unlock(&s->lock);
	pair_unref(old);
	return 0;
}

// ---- Connections

static void set_phase(struct conn *conn, enum phase phase, int64_t since)
{
	atomic_store_explicit(&conn->since_ms, since, memory_order_relaxed);
	atomic_store_explicit(&conn->phase, (int)phase, memory_order_relaxed);
}

static void end_turn(struct conn *conn)
{
	atomic_fetch_add_explicit(&conn->turns, 1, memory_order_relaxed);
	set_phase(conn, PHASE_IDLE, 0);
}

static int on_handshake_message(gnutls_session_t session, unsigned int type, unsigned int when, unsigned int incoming,
				const gnutls_datum_t *msg)
{
	(void)type;
	(void)when;
	(void)msg;
	struct conn *conn = gnutls_session_get_ptr(session);
	if (incoming != 0)
		end_turn(conn);
	return 0;
}

// GnuTLS reads a record's five bytes of header, then its content: two calls of the kernel a record. This reads what
// has come all at once, and keeps it only until GnuTLS takes it. The socket's own EAGAIN is always passed on, since
// MHD's epoll is edge-triggered.
static ssize_t pull_ahead(struct conn *conn, void *data, size_t n)
{
	char *ahead = xreallocarray(NULL, AHEAD_MAX, 1);
	struct iovec parts[] = {{data, n}, {ahead, AHEAD_MAX}};
	ssize_t got = readv(conn->fd, parts, 2);
	if (got <= (ssize_t)n) {
		int keep = errno;
		free(ahead);
		errno = keep;
		return got;
	}
	conn->ahead = ahead;
	conn->ahead_at = 0;
	atomic_store_explicit(&conn->ahead_n, (size_t)got - n, memory_order_relaxed);
	return (ssize_t)n;
}

static size_t take_ahead(struct conn *conn, void *data, size_t n)
{
	size_t left = atomic_load_explicit(&conn->ahead_n, memory_order_relaxed);
	size_t took = n < left ? n : left;
	memcpy(data, conn->ahead + conn->ahead_at, took);
	conn->ahead_at += took;
	atomic_store_explicit(&conn->ahead_n, left - took, memory_order_relaxed);
	if (took == left) {
		free(conn->ahead);
		conn->ahead = NULL;
	}
	return took;
}

static ssize_t pull_records(gnutls_transport_ptr_t transport, void *data, size_t n)
{
	struct conn *conn = transport;
	if (conn->ahead != NULL)
		return (ssize_t)take_ahead(conn, data, n);
	ssize_t got = pull_ahead(conn, data, n);
	if (got < 0)
		gnutls_transport_set_errno(conn->tls, errno);
	return got;
}

static bool hold(struct conn *conn, const giovec_t *parts, int n)
{
	size_t total = 0;
	for (int i = 0; i < n; i++)
		total += parts[i].iov_len;
	if (total > HELD_MAX - conn->held_n)
		return false;
	for (int i = 0; i < n; i++) {
		memcpy(conn->held + conn->held_n, parts[i].iov_base, parts[i].iov_len);
		conn->held_n += parts[i].iov_len;
	}
	return true;
}

// What was sent beyond the held bytes; those that were not stay held.
static ssize_t without_held(struct conn *conn, ssize_t sent)
{
	size_t of_held = (size_t)sent < conn->held_n ? (size_t)sent : conn->held_n;
	conn->held_n -= of_held;
	memmove(conn->held, conn->held + of_held, conn->held_n);
	if ((size_t)sent > of_held)
		return sent - (ssize_t)of_held;
	errno = EAGAIN;
	return -1;
}

// MHD sends an answer as two TLS records, its header and its body, right after each other. The first is held back and
// goes out in one call, one segment and one wake-up of the peer with the second; hold_next says that a second follows.
static ssize_t push_records(gnutls_transport_ptr_t transport, const giovec_t *parts, int n)
{
	struct conn *conn = transport;
	bool wait = conn->hold_next;
	conn->hold_next = false;
	if (wait && hold(conn, parts, n)) {
		ssize_t total = 0;
		for (int i = 0; i < n; i++)
			total += (ssize_t)parts[i].iov_len;
		return total;
	}
	struct iovec out[PUSH_PARTS] = {{conn->held, conn->held_n}};
	int first = conn->held_n > 0 ? 0 : 1;
	int used = 1;
	for (int i = 0; i < n && used < PUSH_PARTS; i++)
		out[used++] = (struct iovec){parts[i].iov_base, parts[i].iov_len};
	struct msghdr msg = {.msg_iov = out + first, .msg_iovlen = (size_t)(used - first)};
	ssize_t sent = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent >= 0 && first == 0)
		sent = without_held(conn, sent);
	if (sent < 0)
		gnutls_transport_set_errno(conn->tls, errno);
	return sent;
}

static void tls_attach(struct conn *conn)
{
	gnutls_transport_set_ptr(conn->tls, conn);
	gnutls_transport_set_pull_function(conn->tls, pull_records);
	gnutls_transport_set_vec_push_function(conn->tls, push_records);
	// MHD sets this pointer to its own connection, for PSK only.
	gnutls_session_set_ptr(conn->tls, conn);
	gnutls_handshake_set_hook_function(conn->tls, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_handshake_message);
}

static void conn_open(struct http_server *s, struct MHD_Connection *c, void **socket_context)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));
	conn->s = s;
	conn->body = BUF_INIT(s->limits.body_max);
	conn->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	if (s->tls) {
		conn->tls = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
		tls_attach(conn);
		set_phase(conn, PHASE_OPEN, now_ms());
	}
	*socket_context = conn;
	atomic_fetch_add_explicit(&s->connections, 1, memory_order_relaxed);
	(void)pthread_mutex_lock(&s->lock);
	conn->next = s->conns;
	if (conn->next != NULL)
		conn->next->prev = conn;
	else
		(void)pthread_cond_broadcast(&s->changed);
	s->conns = conn;
	(void)pthread_mutex_unlock(&s->lock);
}

// MHD closes the socket after this, so that whoever finds the connection in the list may use its fd.
static void conn_close(struct conn *conn)
{
	struct http_server *s = conn->s;
	(void)pthread_mutex_lock(&s->lock);
	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		s->conns = conn->next;
	if (conn->next != NULL)
		conn->next->prev = conn->prev;
	(void)pthread_mutex_unlock(&s->lock);
	atomic_fetch_sub_explicit(&s->connections, 1, memory_order_relaxed);
	pair_unref(conn->pair);
	buf_release(&conn->body);
	free(conn->ahead);
	free(conn);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		conn_open(cls, c, socket_context);
	} else if (*socket_context != NULL) {
		conn_close(*socket_context);
		*socket_context = NULL;
	}
}

// ---- Overdue requests

static uint64_t bytes_received(int fd)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
		return 0;
	return info.tcpi_bytes_received;
}

// MHD tells nothing of a header until it is complete, so see it by the bytes that came since the last request. Its
// start is known to within one round of the watch.
static int64_t header_since(struct conn *conn, int64_t now)
{
	uint64_t bytes = bytes_received(conn->fd);
	unsigned turns = atomic_load_explicit(&conn->turns, memory_order_relaxed);
	int64_t since = atomic_load_explicit(&conn->header_since_ms, memory_order_relaxed);
	if (turns != conn->seen_turns) {
		conn->seen_turns = turns;
		conn->seen_bytes = bytes;
		since = 0;
	} else if (bytes != conn->seen_bytes && since == 0) {
		since = now;
	}
	atomic_store_explicit(&conn->header_since_ms, since, memory_order_relaxed);
	atomic_store_explicit(&conn->header_turn, turns, memory_order_release);
	return since;
}

static void watch_one(struct http_server *s, struct conn *conn, int64_t now)
{
	int phase = atomic_load_explicit(&conn->phase, memory_order_relaxed);
	int64_t since = phase == PHASE_IDLE ? header_since(conn, now)
					    : atomic_load_explicit(&conn->since_ms, memory_order_relaxed);
	if (since == 0 || now - since <= (int64_t)s->limits.request_timeout_s * 1000)
		return;
	// A 408 can't be sent from here: the loop's thread owns the TLS session.
	(void)shutdown(conn->fd, SHUT_RDWR);
	if (phase == PHASE_BODY || phase == PHASE_IDLE)
		atomic_fetch_add_explicit(&s->refused_408, 1, memory_order_relaxed);
	// Once only.
	set_phase(conn, PHASE_OPEN, 0);
	log_debug("connection closed: its peer was too slow", LOG_Z("server", s->name), LOG_I("phase", phase),
		  LOG_I("ms", now - since));
}

static void wait_ms(struct http_server *s, int64_t ms)
{
	struct timespec until = {0};
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
	until.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
	until.tv_nsec = (long)(ns % 1000000000);
	(void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

static void *watch_main(void *arg)
{
	struct http_server *s = arg;
	int64_t round_ms = (int64_t)s->limits.request_timeout_s * 1000 / 8;
	round_ms = round_ms < WATCH_MIN_MS ? WATCH_MIN_MS : round_ms > WATCH_MAX_MS ? WATCH_MAX_MS : round_ms;
	(void)pthread_mutex_lock(&s->lock);
	while (!s->watch_ends) {
		if (s->conns == NULL) {
			(void)pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		wait_ms(s, round_ms);
		int64_t now = now_ms();
		for (struct conn *conn = s->conns; conn != NULL; conn = conn->next)
			watch_one(s, conn, now);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

// ---- Answers

static enum MHD_Result answer(struct conn *conn, struct MHD_Connection *c, struct http_response *resp,
			      const char *allow)
{
	char *p = NULL;
	size_t n = resp->body.n;
	if (n > 0)
		p = buf_take(&resp->body);
	else
		buf_release(&resp->body);
	struct MHD_Response *r = MHD_create_response_from_buffer(n, p, MHD_RESPMEM_MUST_FREE);
	if (r == NULL) {
		free(p);
		return MHD_NO;
	}
	const char *type = resp->content_type != NULL ? resp->content_type : "text/plain; charset=utf-8";
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (allow != NULL)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
	if (resp->retry_after_s > 0) {
		char seconds[16];
		(void)snprintf(seconds, sizeof(seconds), "%d", resp->retry_after_s);
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	if (atomic_load_explicit(&conn->s->stopping, memory_order_relaxed))
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	set_phase(conn, PHASE_ANSWER, now_ms());
	conn->hold_next = n > 0 && !conn->head && resp->status != 204 && resp->status != 304;
	enum MHD_Result ok = MHD_queue_response(c, (unsigned)resp->status, r);
	MHD_destroy_response(r);
	return ok;
}

// "GET, HEAD, POST": the methods that the path has.
static void allowed_methods(const struct http_server *s, struct str path, char *out, size_t cap)
{
	struct buf b = BUF_INIT(cap - 1);
	for (size_t i = 0; i < s->nroutes; i++) {
		if (!str_is(path, s->routes[i].path))
			continue;
		bool get = strcmp(s->routes[i].method, "GET") == 0;
		buf_addf(&b, "%s%s", b.n > 0 ? ", " : "", get ? "GET, HEAD" : s->routes[i].method);
	}
	(void)snprintf(out, cap, "%s", buf_z(&b));
	buf_release(&b);
}

static void refusal_text(const struct conn *conn, int status, const char *allow, struct buf *out)
{
	const struct http_server *s = conn->s;
	switch (status) {
	case 400:
		buf_addz(out, "the request has a Transfer-Encoding other than chunked, or beside a Content-Length\n");
		break;
	case 404:
		buf_addf(out, "no such path: this server has %s\n", s->paths);
		break;
	case 405:
		buf_addf(out, "method not allowed: this path takes %s\n", allow);
		break;
	case 408:
		buf_addf(out, "the request took longer than %u s\n", s->limits.request_timeout_s);
		break;
	case 413:
		buf_addf(out, "the body is larger than %zu bytes\n", s->limits.body_max);
		break;
	case 415:
		buf_addf(out, "unsupported media type: send %s\n",
			 conn->route != NULL && conn->route->accepts != NULL ? conn->route->accepts : "another one");
		break;
	case 503:
		buf_addz(out, "too many requests under way: try again shortly\n");
		break;
	default:
		buf_addz(out, "the request can't be served\n");
		break;
	}
}

static void count_refusal(struct conn *conn, int status)
{
	struct http_server *s = conn->s;
	if (status == 413)
		atomic_fetch_add_explicit(&s->refused_413, 1, memory_order_relaxed);
	else if (status == 503)
		atomic_fetch_add_explicit(&s->refused_503, 1, memory_order_relaxed);
	else if (status == 408)
		atomic_fetch_add_explicit(&s->refused_408, 1, memory_order_relaxed);
	log_debug("request refused", LOG_Z("server", s->name), LOG_I("status", status));
}

static enum MHD_Result refuse(struct conn *conn, struct MHD_Connection *c, const char *path, int status)
{
	char allow[ALLOW_MAX] = "";
	if (status == 405)
		allowed_methods(conn->s, str_from(path), allow, sizeof(allow));
	struct http_response resp = {.status = status, .body = BUF_INIT(HTTP_RESPONSE_MAX)};
	resp.retry_after_s = status == 503 ? RETRY_AFTER_S : 0;
	refusal_text(conn, status, allow, &resp.body);
	count_refusal(conn, status);
	return answer(conn, c, &resp, allow[0] != '\0' ? allow : NULL);
}

// In the middle of a body MHD 0.9.75 takes no answer, only the end of the connection. MHD sends nothing then, and
// this is its thread, so the answer is written past it; the connection ends either way, so a short write is no loss.
static enum MHD_Result refuse_amid_body(struct conn *conn, int status)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	struct buf whole = BUF_INIT(2 * TEXT_MAX);
	refusal_text(conn, status, "", &text);
	buf_addf(&whole, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n", status,
		 MHD_get_reason_phrase_for((unsigned)status), text.n);
	if (status == 503)
		buf_addf(&whole, "Retry-After: %d\r\n", RETRY_AFTER_S);
	buf_addz(&whole, "Connection: close\r\n\r\n");
	buf_add_str(&whole, buf_str(&text));
	if (conn->tls != NULL)
		(void)gnutls_record_send(conn->tls, buf_z(&whole), whole.n);
	else
		(void)send(conn->fd, buf_z(&whole), whole.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_release(&text);
	buf_release(&whole);
	count_refusal(conn, status);
	return MHD_NO;
}

// ---- Requests

// Charges what the body's buffer takes by now to the budget. False when that is used up.
static bool charge_body(struct conn *conn)
{
	size_t takes = conn->body.cap > 0 ? conn->body.cap - 1 : 0; // its NUL is ours
	size_t more = takes - conn->charged;
	if (more == 0)
		return true;
	struct http_server *s = conn->s;
	conn->charged += more;
	return atomic_fetch_add_explicit(&s->body_bytes, more, memory_order_relaxed) + more <= s->limits.bodies_max;
}

static void drop_body(struct conn *conn)
{
	buf_release(&conn->body);
	if (conn->charged > 0)
		atomic_fetch_sub_explicit(&conn->s->body_bytes, conn->charged, memory_order_relaxed);
	conn->charged = 0;
}

static bool route_takes(const struct http_route *route, const char *method)
{
	return strcmp(route->method, method) == 0 || (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

// Sets conn->route; returns 0 or a status.
static int find_route(struct conn *conn, const char *method, const char *path)
{
	const struct http_server *s = conn->s;
	int status = 404;
	conn->route = NULL;
	for (size_t i = 0; i < s->nroutes; i++) {
		if (strcmp(s->routes[i].path, path) != 0)
			continue;
		if (route_takes(&s->routes[i], method)) {
			conn->route = &s->routes[i];
			return 0;
		}
		status = 405;
	}
	return status;
}

// Parameters like charset are ignored.
static bool media_type_is(const char *value, const char *type)
{
	size_t n = strlen(type);
	return value != NULL && strncasecmp(value, type, n) == 0 && strchr("; \t", value[n]) != NULL;
}

static const char *header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

// What the header tells of the body.
struct announced {
	bool any;
	bool known;
	uint64_t n;
	bool bad; // the two ways of telling disagree, or a coding that MHD would misread
};

static struct announced announced_body(struct MHD_Connection *c)
{
	struct announced a = {0};
	const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
	const char *coding = header(c, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	if (coding != NULL) {
		a.any = true;
		a.bad = length != NULL || strcasecmp(coding, "chunked") != 0;
	} else if (length != NULL) {
		// MHD has checked the digits. A value that doesn't fit becomes the largest, which is refused.
		a.n = strtoull(length, NULL, 10);
		a.known = true;
		a.any = a.n > 0;
	}
	return a;
}

static int check_request(struct conn *conn, struct MHD_Connection *c, const char *method, const char *path,
			 const struct announced *a)
{
	if (a->bad)
		return 400;
	int status = find_route(conn, method, path);
	if (conn->route == NULL)
		return status;
	if (a->known && a->n > conn->s->limits.body_max)
		return 413;
	if (conn->route->accepts != NULL && !media_type_is(header(c, MHD_HTTP_HEADER_CONTENT_TYPE), conn->route->accepts))
		return 415;
	if (!a->any)
		return 0;
	if (a->known && a->n <= RESERVE_MAX && buf_reserve(&conn->body, (size_t)a->n) != NULL && !charge_body(conn))
		return 503;
	if (atomic_load_explicit(&conn->s->body_bytes, memory_order_relaxed) > conn->s->limits.bodies_max)
		return 503;
	return 0;
}

// Now, unless its header has been seen coming in before.
static int64_t request_since(struct conn *conn)
{
	unsigned turn = atomic_load_explicit(&conn->header_turn, memory_order_acquire);
	int64_t since = atomic_load_explicit(&conn->header_since_ms, memory_order_relaxed);
	if (since != 0 && turn == atomic_load_explicit(&conn->turns, memory_order_relaxed))
		return since;
	return now_ms();
}

static enum MHD_Result begin_request(struct conn *conn, struct MHD_Connection *c, const char *method, const char *path)
{
	set_phase(conn, PHASE_BODY, request_since(conn));
	atomic_fetch_add_explicit(&conn->s->active, 1, memory_order_relaxed);
	struct announced a = announced_body(c);
	conn->head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	conn->refuse = check_request(conn, c, method, path, &a);
	// An answer at this point makes MHD close the connection. That is right where a body would have to be read
	// first; a request without one is refused when it is complete, and keeps its connection.
	if (conn->refuse != 0 && a.any)
		return refuse(conn, c, path, conn->refuse);
	return MHD_YES;
}

static enum MHD_Result add_body(struct conn *conn, const char *data, size_t *n)
{
	struct http_server *s = conn->s;
	int64_t since = atomic_load_explicit(&conn->since_ms, memory_order_relaxed);
	buf_add(&conn->body, data, *n);
	*n = 0;
	if (!buf_ok(&conn->body))
		return refuse_amid_body(conn, 413);
	if (!charge_body(conn))
		return refuse_amid_body(conn, 503);
	if (now_ms() - since > (int64_t)s->limits.request_timeout_s * 1000)
		return refuse_amid_body(conn, 408);
	return MHD_YES;
}

static enum MHD_Result serve(struct conn *conn, struct MHD_Connection *c, const char *path)
{
	struct http_request req = {.path = str_from(path), .body = buf_str(&conn->body)};
	struct http_response resp = {.body = BUF_INIT(HTTP_RESPONSE_MAX)};
	conn->route->handle(conn->route->ctx, &req, &resp);
	drop_body(conn);
	if (resp.status < 200 || resp.status > 599 || !buf_ok(&resp.body)) {
		log_error("handler gave no usable answer", LOG_Z("server", conn->s->name), LOG_S("path", req.path),
			  LOG_I("status", resp.status), LOG_B("too_large", !buf_ok(&resp.body)));
		buf_clear(&resp.body);
		buf_addz(&resp.body, "internal error: see the server's log\n");
		resp.status = 500;
		resp.content_type = NULL;
	}
	return answer(conn, c, &resp, NULL);
}

// MHD calls this when the header is complete, then for each piece of the body, then once more.
static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *n, void **request_context)
{
	(void)cls;
	(void)version;
	struct conn *conn = *request_context;
	if (conn == NULL) {
		conn = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
		*request_context = conn;
		return begin_request(conn, c, method, url);
	}
	if (*n > 0)
		return add_body(conn, data, n);
	if (conn->refuse != 0)
		return refuse(conn, c, url, conn->refuse);
	return serve(conn, c, url);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **request_context,
			 enum MHD_RequestTerminationCode how)
{
	(void)c;
	(void)how;
	struct http_server *s = cls;
	struct conn *conn = *request_context;
	if (conn == NULL)
		return;
	*request_context = NULL;
	drop_body(conn);
	end_turn(conn);
	// Sequentially consistent, as is storing `stopping`: either this sees it, or stop sees the zero.
	if (atomic_fetch_sub(&s->active, 1) == 1 && atomic_load(&s->stopping)) {
		(void)pthread_mutex_lock(&s->lock);
		(void)pthread_cond_broadcast(&s->changed);
		(void)pthread_mutex_unlock(&s->lock);
	}
}

// ---- The listening socket

struct endpoint {
	char host[64];
	char port[8];
};

static int parse_listen(const char *listen_on, struct endpoint *ret, struct error *err)
{
	static const char REMEDY[] = "write ADDRESS:PORT, [IPV6]:PORT or :PORT";
	const char *colon = strrchr(listen_on, ':');
	if (colon == NULL)
		return error_set(err, EINVAL, "listen address \"%s\" has no port: %s", listen_on, REMEDY);
	struct str host = {listen_on, (size_t)(colon - listen_on)};
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){host.p + 1, host.n - 2};
	else if (memchr(host.p, ':', host.n) != NULL)
		return error_set(err, EINVAL, "listen address \"%s\": an IPv6 address goes in brackets: %s", listen_on,
				 REMEDY);
	size_t digits = strspn(colon + 1, "0123456789");
	if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || strtoul(colon + 1, NULL, 10) > 65535)
		return error_set(err, EINVAL, "listen address \"%s\": the port must be 0 to 65535", listen_on);
	if (host.n >= sizeof(ret->host))
		return error_set(err, EINVAL, "listen address \"%s\" is no IP address: %s", listen_on, REMEDY);
	memcpy(ret->host, host.p, host.n);
	ret->host[host.n] = '\0';
	(void)snprintf(ret->port, sizeof(ret->port), "%s", colon + 1);
	return 0;
}

static const char *bind_remedy(int code)
{
	switch (code) {
	case EADDRINUSE:
		return "stop the program that has it, or choose another port";
	case EACCES:
		return "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one";
	case EADDRNOTAVAIL:
		return "this host has no such address: use one of its own, or none for all";
	case EAFNOSUPPORT:
		return "this host has no IPv6: use an IPv4 address";
	default:
		return "choose another address";
	}
}

static int listen_on_address(const struct addrinfo *ai, bool both, int *ret)
{
	static const int ON = 1;
	static const int OFF = 0;
	int fd CLEANUP_CLOSE = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &ON, sizeof(ON)) != 0)
		return -errno;
	if (ai->ai_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, both ? &OFF : &ON, sizeof(int)) != 0)
		return -errno;
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0)
		return -errno;
	*ret = fd;
	fd = -1;
	return 0;
}

static int listen_on_host(const char *host, const struct endpoint *e, int *ret)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	if (getaddrinfo(host, e->port, &hints, &found) != 0)
		return -EINVAL;
	int r = listen_on_address(found, strcmp(host, "::") == 0, ret);
	freeaddrinfo(found);
	return r;
}

static int open_listen(const char *listen_on, int *ret, struct error *err)
{
	struct endpoint e;
	if (parse_listen(listen_on, &e, err) < 0)
		return -err->code;
	int r = listen_on_host(e.host[0] != '\0' ? e.host : "::", &e, ret);
	if (r == -EAFNOSUPPORT && e.host[0] == '\0')
		r = listen_on_host("0.0.0.0", &e, ret);
	if (r == -EINVAL)
		return error_set(err, EINVAL, "listen address \"%s\": \"%s\" is no IP address: names aren't looked up",
				 listen_on, e.host);
	if (r < 0)
		return error_set(err, -r, "listen on %s: %s: %s", listen_on, strerror(-r), bind_remedy(-r));
	return 0;
}

static uint16_t port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = {0};
	socklen_t n = sizeof(a);
	if (getsockname(fd, &a.any, &n) != 0)
		return 0;
	return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

// ---- Start and stop

__attribute__((format(printf, 2, 0))) static void on_mhd_message(void *cls, const char *fmt, va_list ap)
{
	struct http_server *s = cls;
	if (mhd_says == NULL && !log_enabled(LOG_DEBUG))
		return;
	char text[512];
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	if (mhd_says != NULL)
		(void)error_set(mhd_says, EIO, "%s", text);
	else
		log_debug("libmicrohttpd", LOG_Z("server", s->name), LOG_Z("said", text));
}

static int start_loop(struct http_server *s, struct loop *loop, struct error *err)
{
	// Not closed when MHD fails to start: it closes it itself on most of those ways, and the program ends.
	loop->listen_fd = fcntl(s->listen_fd, F_DUPFD_CLOEXEC, 0);
	if (loop->listen_fd < 0)
		return error_set(err, errno, "duplicate the listening socket: %s: raise the limit of open files",
				 strerror(errno));
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)pick_certificate},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, NULL},
		{MHD_OPTION_END, 0, NULL},
	};
	union {
		const char *in;
		void *out;
	} priorities = {.in = TLS_PRIORITIES};
	tls[1].ptr_value = priorities.out;
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG | (s->tls ? MHD_USE_TLS : 0U);
	loop->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_message, (void *)s,
		MHD_OPTION_LISTEN_SOCKET, loop->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		(s->limits.connections + s->nloops - 1) / s->nloops, MHD_OPTION_CONNECTION_TIMEOUT,
		s->limits.idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->limits.connection_memory,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, (void *)s, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		(void *)s, MHD_OPTION_ARRAY, s->tls ? tls : none, MHD_OPTION_END);
	if (loop->daemon == NULL)
		return error_prefix(err, "start the HTTP server %s", s->name);
	return 0;
}

static int start_threads(struct http_server *s, struct error *err)
{
	struct error said;
	(void)error_set(&said, EIO, "libmicrohttpd gave no reason: raise the limits of threads and open files");
	mhd_says = &said;
	int r = 0;
	for (unsigned i = 0; i < s->nloops && r == 0; i++)
		r = start_loop(s, &s->loops[i], &said);
	mhd_says = NULL;
	if (r < 0) {
		*err = said;
		return r;
	}
	int code = pthread_create(&s->watch, NULL, watch_main, s);
	if (code != 0)
		return error_set(err, code, "start a thread: %s: raise the limit of threads", strerror(code));
	s->watching = true;
	return 0;
}

// Signals belong to the program's own threads.
static int start_threads_without_signals(struct http_server *s, struct error *err)
{
	sigset_t all;
	sigset_t before;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = start_threads(s, err);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int check_config(const struct http_config *config, struct error *err)
{
	const struct http_limits *l = &config->limits;
	if (config->listen == NULL)
		return error_set(err, EINVAL, "no listen address: write ADDRESS:PORT");
	if (config->threads < 1 || config->threads > 64)
		return error_set(err, EINVAL, "%u server threads: use 1 to 64", config->threads);
	if (l->connections < config->threads)
		return error_set(err, EINVAL, "%u connections for %u threads: allow at least one for each", l->connections,
				 config->threads);
	if (l->body_max == 0 || l->body_max > (size_t)1024 * 1024 * 1024 || l->bodies_max < l->body_max)
		return error_set(err, EINVAL, "body limits %zu and %zu: use 1 byte to 1 GiB for one, no less for all",
				 l->body_max, l->bodies_max);
	if (l->idle_timeout_s == 0 || l->request_timeout_s == 0)
		return error_set(err, EINVAL, "a timeout of 0 s: use at least 1");
	if (l->connection_memory < 1024)
		return error_set(err, EINVAL, "%zu bytes for a connection's headers: use at least 1024",
				 l->connection_memory);
	return 0;
}

static char *list_paths(const struct http_config *config)
{
	struct buf b = BUF_INIT(TEXT_MAX / 2);
	for (size_t i = 0; i < config->nroutes; i++) {
		bool first = true;
		for (size_t j = 0; j < i && first; j++)
			first = strcmp(config->routes[i].path, config->routes[j].path) != 0;
		if (first)
			buf_addf(&b, "%s%s", b.n > 0 ? ", " : "", config->routes[i].path);
	}
	return buf_take(&b);
}

static struct http_server *server_new(const struct http_config *config)
{
	struct http_server *s = xcalloc(1, sizeof(*s));
	s->name = xstrndup(config->name);
	s->limits = config->limits;
	s->routes = config->routes;
	s->nroutes = config->nroutes;
	s->paths = list_paths(config);
	s->tls = config->cert_pem.p != NULL;
	s->listen_fd = -1;
	s->nloops = config->threads;
	s->loops = xcalloc(s->nloops, sizeof(*s->loops));
	for (unsigned i = 0; i < s->nloops; i++)
		s->loops[i].listen_fd = -1;
	(void)pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return s;
}

static void stop_accepting(struct http_server *s)
{
	if (s->quiesced)
		return;
	s->quiesced = true;
	for (unsigned i = 0; i < s->nloops; i++) {
		if (s->loops[i].daemon != NULL)
			(void)MHD_quiesce_daemon(s->loops[i].daemon);
	}
	// Closing alone wouldn't do, as the duplicates stay open until the loops have ended. From here on connecting is
	// refused, and who waits to be accepted is reset.
	if (s->listen_fd >= 0)
		(void)shutdown(s->listen_fd, SHUT_RDWR);
}

static void end_watch(struct http_server *s)
{
	if (!s->watching)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->watch_ends = true;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->watch, NULL);
	s->watching = false;
}

static void end_loops(struct http_server *s)
{
	for (unsigned i = 0; i < s->nloops; i++) {
		if (s->loops[i].daemon == NULL)
			continue;
		MHD_stop_daemon(s->loops[i].daemon);
		// Quiesced before, so MHD has left it to us.
		(void)close(s->loops[i].listen_fd);
	}
}

static void server_free(struct http_server *s)
{
	stop_accepting(s);
	end_watch(s);
	end_loops(s);
	if (s->listen_fd >= 0)
		(void)close(s->listen_fd);
	pair_unref(s->pair);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->loops);
	free(s->paths);
	free(s->name);
	free(s);
}

static void cleanup_server(struct http_server **s)
{
	if (*s != NULL)
		server_free(*s);
}

struct http_server *http_server_start(const struct http_config *config, struct error *err)
{
	if (check_config(config, err) < 0)
		return NULL;
	struct http_server *s CLEANUP(cleanup_server) = server_new(config);
	if (s->tls) {
		s->pair = pair_load(config->cert_pem, config->key_pem, err);
		if (s->pair == NULL)
			return NULL;
	}
	if (open_listen(config->listen, &s->listen_fd, err) < 0)
		return NULL;
	s->port = port_of(s->listen_fd);
	if (start_threads_without_signals(s, err) < 0)
		return NULL;
	return TAKE_PTR(s);
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

void http_server_stats(const struct http_server *s, struct http_stats *ret)
{
	ret->connections = atomic_load_explicit(&s->connections, memory_order_relaxed);
	ret->body_bytes = atomic_load_explicit(&s->body_bytes, memory_order_relaxed);
	ret->refused_413 = atomic_load_explicit(&s->refused_413, memory_order_relaxed);
	ret->refused_503 = atomic_load_explicit(&s->refused_503, memory_order_relaxed);
	ret->refused_408 = atomic_load_explicit(&s->refused_408, memory_order_relaxed);
}

// A request may be under way that no thread has read yet.
static bool anything_unread(const struct http_server *s)
{
	for (const struct conn *conn = s->conns; conn != NULL; conn = conn->next) {
		int n = 0;
		if (atomic_load_explicit(&conn->ahead_n, memory_order_relaxed) > 0)
			return true;
		if (ioctl(conn->fd, FIONREAD, &n) == 0 && n > 0)
			return true;
	}
	return false;
}

// Until no request is under way in two looks in a row: between reading a request and counting it, it is nowhere.
static void wait_quiet(struct http_server *s, int64_t until)
{
	(void)pthread_mutex_lock(&s->lock);
	int looks = 0;
	for (int64_t left = until - now_ms(); left > 0 && looks < 2; left = until - now_ms()) {
		bool active = atomic_load(&s->active) > 0;
		looks = active || anything_unread(s) ? 0 : looks + 1;
		if (looks < 2)
			wait_ms(s, !active && left > QUIET_CHECK_MS ? QUIET_CHECK_MS : left);
	}
	(void)pthread_mutex_unlock(&s->lock);
}

void http_server_stop(struct http_server *s, unsigned grace_ms)
{
	if (s == NULL)
		return;
	atomic_store(&s->stopping, true);
	stop_accepting(s);
	wait_quiet(s, now_ms() + grace_ms);
	server_free(s);
}
