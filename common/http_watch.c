#include "common/http_private.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/tcp.h> // struct tcp_info with tcpi_bytes_received, which netinet/tcp.h of glibc lacks

#include "common/log.h"

#define ROUNDS 8 // within the limit
#define ROUND_MIN_MS 20
#define ROUND_MAX_MS 1000
#define QUIET_CHECK_MS 5

static int64_t now_ms(void)
{
	struct timespec t = {0};
	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct timespec timespec_of(int64_t ms)
{
	return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
}

// ---- What has come

static uint64_t bytes_received(int fd)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
		return 0;
	return info.tcpi_bytes_received;
}

// On the connection's own thread. With TLS at no cost: this is part of each request.
static uint64_t bytes_read(const struct watched *c)
{
	if (c->tls != NULL)
		return tls_transport_taken(c->tls);
	// In this order: what comes in between is taken for unread.
	uint64_t received = bytes_received(c->fd);
	int unread = 0;
	(void)ioctl(c->fd, FIONREAD, &unread);
	return received > (uint64_t)unread ? received - (uint64_t)unread : 0;
}

// ---- What the loops tell

// In this order, so that who sees the phase sees its beginning or a later one's, which is never overdue too early.
static void enter(struct watched *c, enum watch_phase phase, int64_t since)
{
	atomic_store_explicit(&c->since_ms, since, memory_order_relaxed);
	atomic_store_explicit(&c->phase, (int)phase, memory_order_release);
}

void http_watch_waits(struct watched *c)
{
	atomic_fetch_add_explicit(&c->turns, 1, memory_order_relaxed);
	atomic_store_explicit(&c->read, bytes_read(c), memory_order_relaxed);
	enter(c, WATCH_IDLE, 0);
}

// Now, unless the header has been seen coming in before.
static int64_t request_since(const struct watched *c)
{
	unsigned turn = atomic_load_explicit(&c->header_turn, memory_order_acquire);
	int64_t since = atomic_load_explicit(&c->header_since_ms, memory_order_relaxed);
	if (since != 0 && turn == atomic_load_explicit(&c->turns, memory_order_relaxed))
		return since;
	return now_ms();
}

void http_watch_request(struct watched *c)
{
	enter(c, WATCH_BODY, request_since(c));
}

void http_watch_answer(struct watched *c)
{
	enter(c, WATCH_ANSWER, now_ms());
}

bool http_watch_overdue(struct http_watch *w, struct watched *c)
{
	if (now_ms() - atomic_load_explicit(&c->since_ms, memory_order_relaxed) <= w->limit_ms)
		return false;
	if (!atomic_exchange_explicit(&c->late, true, memory_order_relaxed))
		atomic_fetch_add_explicit(&w->overdue, 1, memory_order_relaxed);
	return true;
}

void http_watch_add(struct http_watch *w, struct watched *c)
{
	if (c->tls != NULL)
		enter(c, WATCH_HANDSHAKE, now_ms());
	(void)pthread_mutex_lock(&w->lock);
	c->next = w->list;
	if (c->next != NULL)
		c->next->prev = c;
	else
		(void)pthread_cond_signal(&w->changed);
	w->list = c;
	(void)pthread_mutex_unlock(&w->lock);
}

void http_watch_remove(struct http_watch *w, struct watched *c)
{
	(void)pthread_mutex_lock(&w->lock);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		w->list = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	(void)pthread_mutex_unlock(&w->lock);
}

// ---- The thread

// libmicrohttpd tells nothing of a header until it is complete, so see it by the bytes that came since the last
// request. Its start is known to within one round.
static int64_t header_since(struct watched *c, int64_t now)
{
	uint64_t bytes = bytes_received(c->fd);
	unsigned turns = atomic_load_explicit(&c->turns, memory_order_relaxed);
	int64_t since = atomic_load_explicit(&c->header_since_ms, memory_order_relaxed);
	if (turns != c->seen_turns) {
		c->seen_turns = turns;
		c->seen_bytes = bytes;
		since = 0;
	} else if (bytes != c->seen_bytes && since == 0) {
		since = now;
	}
	atomic_store_explicit(&c->header_since_ms, since, memory_order_relaxed);
	atomic_store_explicit(&c->header_turn, turns, memory_order_release);
	return since;
}

static void look_at(struct http_watch *w, struct watched *c, int64_t now)
{
	int phase = atomic_load_explicit(&c->phase, memory_order_acquire);
	int64_t since =
		phase == WATCH_IDLE ? header_since(c, now) : atomic_load_explicit(&c->since_ms, memory_order_relaxed);
	if (since == 0 || now - since <= w->limit_ms || atomic_exchange_explicit(&c->late, true, memory_order_relaxed))
		return;
	// A 408 can't be sent from here: the loop owns the TLS session.
	(void)shutdown(c->fd, SHUT_RDWR);
	if (phase == WATCH_BODY || phase == WATCH_IDLE)
		atomic_fetch_add_explicit(&w->overdue, 1, memory_order_relaxed);
	log_debug("connection closed: its peer was too slow", LOG_Z("server", w->name), LOG_I("phase", phase),
			  LOG_I("ms", now - since));
}

static void wait_round(struct http_watch *w)
{
	int64_t round_ms = w->limit_ms / ROUNDS;
	round_ms = round_ms < ROUND_MIN_MS ? ROUND_MIN_MS : round_ms > ROUND_MAX_MS ? ROUND_MAX_MS : round_ms;
	const struct timespec until = timespec_of(now_ms() + round_ms);
	(void)pthread_cond_timedwait(&w->changed, &w->lock, &until);
}

static void *watch_main(void *arg)
{
	struct http_watch *w = arg;
	(void)pthread_mutex_lock(&w->lock);
	while (!w->ends) {
		if (w->list == NULL) {
			(void)pthread_cond_wait(&w->changed, &w->lock);
			continue;
		}
		wait_round(w);
		int64_t now = now_ms();
		for (struct watched *c = w->list; c != NULL; c = c->next)
			look_at(w, c, now);
	}
	(void)pthread_mutex_unlock(&w->lock);
	return NULL;
}

// ---- Start and stop

void http_watch_init(struct http_watch *w, const char *name, unsigned limit_s)
{
	w->name = name;
	w->limit_ms = (int64_t)limit_s * 1000;
	(void)pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
}

int http_watch_start(struct http_watch *w, struct error *err)
{
	int code = pthread_create(&w->thread, NULL, watch_main, w);
	if (code != 0)
		return error_set(err, code, "start a thread: %s: raise the limit of threads", strerror(code));
	w->running = true;
	return 0;
}

void http_watch_end(struct http_watch *w)
{
	if (!w->running)
		return;
	(void)pthread_mutex_lock(&w->lock);
	w->ends = true;
	(void)pthread_cond_signal(&w->changed);
	(void)pthread_mutex_unlock(&w->lock);
	(void)pthread_join(w->thread, NULL);
	w->running = false;
}

void http_watch_release(struct http_watch *w)
{
	(void)pthread_cond_destroy(&w->changed);
	(void)pthread_mutex_destroy(&w->lock);
}

// By what has come, too: a loop may be held up for any time before it reads a request, and before it tells of one that it read.
static bool is_under_way(const struct watched *c)
{
	int phase = atomic_load_explicit(&c->phase, memory_order_acquire);
	if (phase == WATCH_BODY || phase == WATCH_ANSWER)
		return true;
	return bytes_received(c->fd) != atomic_load_explicit(&c->read, memory_order_relaxed);
}

static bool anything_under_way(struct http_watch *w)
{
	bool any = false;
	(void)pthread_mutex_lock(&w->lock);
	for (const struct watched *c = w->list; c != NULL && !any; c = c->next)
		any = is_under_way(c);
	(void)pthread_mutex_unlock(&w->lock);
	return any;
}

// In two looks in a row: a connection that was accepted just now may not be in the list yet.
void http_watch_wait_quiet(struct http_watch *w, unsigned limit_ms)
{
	const struct timespec pause = timespec_of(QUIET_CHECK_MS);
	int64_t until = now_ms() + limit_ms;
	for (int looks = 0; now_ms() < until;) {
		looks = anything_under_way(w) ? 0 : looks + 1;
		if (looks == 2)
			return;
		(void)nanosleep(&pause, NULL);
	}
}
