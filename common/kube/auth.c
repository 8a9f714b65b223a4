#include "common/kube/auth.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "common/files.h"
#include "common/kube/auth_private.h"
#include "common/kube/config_private.h"
#include "common/kube/exec.h"
#include "common/mem.h"
#include "common/secret.h"

enum { MARK_CA, MARK_CERT, MARK_KEY, MARKS };

struct kube_auth {
	const struct kube_config *config;
	const struct clock *clock;
	pthread_mutex_t lock;
	pthread_cond_t ran;

	// What is in use now: a token from the config or its file, or what the plugin gave. Empty: to be had first.
	struct kube_credential now;
	unsigned serial;  // of now; 0 before the first
	int64_t read_ms;  // when the token's file was read, monotonic
	int64_t renew_ms; // when the plugin is due, wall
	bool must_read;   // the token's file, without regard to read_ms
	bool running;     // the plugin, for one of the callers
	unsigned runs;    // that have ended
	bool failed;      // the last of them, with why
	struct error why;

	unsigned generation;
	struct file_mark marks[MARKS];
};

static const struct kube_text *text_at(const struct kube_config *c, int mark)
{
	return mark == MARK_CA ? &c->ca : mark == MARK_CERT ? &c->client_cert : &c->client_key;
}

static struct file_mark look(const struct kube_config *c, int mark)
{
	const struct kube_text *t = text_at(c, mark);
	return t->data == NULL && t->file != NULL ? file_mark(t->file) : (struct file_mark){0};
}

struct kube_auth *kube_auth_new(const struct kube_config *config, const struct clock *clock)
{
	struct kube_auth *a = xcalloc(1, sizeof(*a));
	a->config = config;
	a->clock = clock;
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->ran, NULL);
	for (int i = 0; i < MARKS; i++)
		a->marks[i] = look(config, i);
	return a;
}

void kube_auth_free(struct kube_auth *a)
{
	if (a == NULL)
		return;
	kube_credential_release(&a->now);
	(void)pthread_mutex_destroy(&a->lock);
	(void)pthread_cond_destroy(&a->ran);
	free(a);
}

static bool same_text(const char *a, const char *b)
{
	return a != NULL && b != NULL ? strcmp(a, b) == 0 : a == b;
}

// Takes c's texts. What is the same as before keeps its serial: having been read anew makes it no other.
static void put_credential(struct kube_auth *a, struct kube_credential *c)
{
	if (!same_text(a->now.cert, c->cert) || !same_text(a->now.key, c->key))
		a->generation++;
	if (a->serial == 0 || !same_text(a->now.token, c->token) || !same_text(a->now.cert, c->cert))
		a->serial++;
	kube_credential_release(&a->now);
	a->now = *c;
	*c = (struct kube_credential){0};
}

static void put_token(struct kube_auth *a, struct str token)
{
	struct kube_credential c = {.token = xstrndup(token), .expires_ms = INT64_MAX};
	put_credential(a, &c);
}

// ---- Tokens from the config, inline or in a file

static int read_token_file(const char *path, struct buf *text, struct error *err)
{
	if (file_read_regular(path, text, err) < 0)
		return -err->code;
	struct str token = buf_str(text);
	while (token.n > 0 && isspace((unsigned char)token.p[token.n - 1]))
		token.n--;
	text->n = token.n;
	return kube_token_check(token, path, err);
}

static int use_inline_token(struct kube_auth *a, struct error *err)
{
	struct str token = str_from(a->config->token.data);
	if (token.p == NULL)
		return 0;
	if (kube_token_check(token, a->config->origin, err) < 0)
		return -err->code;
	put_token(a, token);
	return 0;
}

static int renew_token(struct kube_auth *a, struct error *err)
{
	const struct kube_text *from = &a->config->token;
	int64_t now_ms = clock_mono_ms(a->clock);
	if (from->file == NULL)
		return use_inline_token(a, err);
	if (a->now.token != NULL && !a->must_read && now_ms - a->read_ms < KUBE_TOKEN_REREAD_MS)
		return 0;
	CLEANUP_SECRET_BUF
	struct buf text = kube_text_buf(&(struct kube_text){.file = from->file}, KUBE_TOKEN_MAX + 1);
	if (read_token_file(from->file, &text, err) == 0) {
		a->read_ms = now_ms;
		a->must_read = false;
		put_token(a, buf_str(&text));
		return 0;
	}
	// A file that is being replaced, or a volume that is gone for a moment: the next call reads it again.
	a->must_read = true;
	if (a->now.token != NULL)
		return 0;
	return from->data != NULL ? use_inline_token(a, err) : -err->code;
}

// ---- The plugin

static bool plugin_is_due(const struct kube_auth *a)
{
	return (a->now.token == NULL && a->now.cert == NULL) || clock_wall_ms(a->clock) >= a->renew_ms;
}

static void note_expiry(struct kube_auth *a, int64_t expires_ms)
{
	int64_t now_ms = clock_wall_ms(a->clock);
	int64_t early = expires_ms > now_ms ? (expires_ms - now_ms) / 4 : 0;
	a->renew_ms = expires_ms - (early < KUBE_EXEC_EARLY_MS ? early : KUBE_EXEC_EARLY_MS);
}

// Without the lock while it runs.
static int run_plugin(struct kube_auth *a, struct error *err)
{
	CLEANUP_KUBE_CREDENTIAL
	struct kube_credential c = {0};
	a->running = true;
	(void)pthread_mutex_unlock(&a->lock);
	int rc = kube_exec_run(a->config, KUBE_EXEC_TIMEOUT_S * 1000, &c, err);
	(void)pthread_mutex_lock(&a->lock);
	a->running = false;
	a->runs++;
	a->failed = rc < 0;
	if (rc < 0) {
		a->why = *err;
	} else {
		note_expiry(a, c.expires_ms);
		put_credential(a, &c);
	}
	(void)pthread_cond_broadcast(&a->ran);
	return rc;
}

static int renew_by_plugin(struct kube_auth *a, struct error *err)
{
	if (!plugin_is_due(a))
		return 0;
	if (!a->running)
		return run_plugin(a, err);
	unsigned before = a->runs;
	while (a->runs == before)
		(void)pthread_cond_wait(&a->ran, &a->lock);
	if (a->failed)
		*err = a->why;
	return a->failed ? -err->code : 0;
}

static int renew(struct kube_auth *a, struct error *err)
{
	return a->config->exec != NULL ? renew_by_plugin(a, err) : renew_token(a, err);
}

int kube_auth_token(struct kube_auth *a, struct buf *out, unsigned *ret_serial, struct error *err)
{
	(void)pthread_mutex_lock(&a->lock);
	int rc = renew(a, err);
	if (rc == 0) {
		*ret_serial = a->serial;
		if (a->now.token != NULL)
			buf_addz(out, a->now.token);
	}
	(void)pthread_mutex_unlock(&a->lock);
	if (rc == 0 && !buf_ok(out))
		return error_set(err, EFBIG, "%s: the token has more than the %zu bytes that fit", a->config->origin, out->max);
	return rc;
}

// The file, at once: a token that was replaced there is why most tokens are refused.
static bool reread(struct kube_auth *a)
{
	struct error err;
	struct kube_credential old = a->now;
	unsigned serial = a->serial;
	a->now = (struct kube_credential){0};
	a->must_read = true;
	int rc = renew_token(a, &err);
	bool other = rc == 0 && !same_text(a->now.token, old.token);
	if (rc == 0 && !other)
		a->serial = serial;
	kube_credential_release(&old);
	return other;
}

bool kube_auth_refused(struct kube_auth *a, unsigned serial)
{
	bool again = true;
	(void)pthread_mutex_lock(&a->lock);
	if (serial != a->serial) {
		// Another one is in use already.
	} else if (a->config->exec != NULL) {
		a->renew_ms = INT64_MIN;
	} else {
		again = a->config->token.file != NULL && reread(a);
	}
	(void)pthread_mutex_unlock(&a->lock);
	return again;
}

// ---- What connections are set up with

int kube_auth_plugin_certificate(struct kube_auth *a, struct kube_credential *ret, struct error *err)
{
	if (a->config->exec == NULL)
		return 0;
	(void)pthread_mutex_lock(&a->lock);
	int rc = renew_by_plugin(a, err);
	if (rc == 0 && a->now.cert != NULL)
		*ret = (struct kube_credential){.cert = xstrdup(a->now.cert), .key = xstrdup(a->now.key)};
	(void)pthread_mutex_unlock(&a->lock);
	return rc;
}

const struct kube_config *kube_auth_config(const struct kube_auth *a)
{
	return a->config;
}

unsigned kube_auth_tls_generation(struct kube_auth *a)
{
	struct file_mark marks[MARKS];
	for (int i = 0; i < MARKS; i++)
		marks[i] = look(a->config, i);
	(void)pthread_mutex_lock(&a->lock);
	bool changed = false;
	for (int i = 0; i < MARKS; i++) {
		changed = changed || !file_mark_equal(&marks[i], &a->marks[i]);
		a->marks[i] = marks[i];
	}
	a->generation += changed;
	unsigned generation = a->generation;
	(void)pthread_mutex_unlock(&a->lock);
	return generation;
}
