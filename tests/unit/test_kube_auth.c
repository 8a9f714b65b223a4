// Credentials: where they come from, how long they are used. What OpenSSL makes of them: test_kube_auth_tls.c.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "cases.h"
#include "common/files.h"
#include "common/kube/auth.h"
#include "folder.h"

#define V1 "client.authentication.k8s.io/v1"
#define START_MS 1767323045000 // 2026-01-02T03:04:05Z

// ---- A clock that stands still

static _Atomic int64_t mono_ms, wall_ms;

static int64_t read_mono(void *ctx)
{
	(void)ctx;
	return mono_ms;
}

static int64_t read_wall(void *ctx)
{
	(void)ctx;
	return wall_ms;
}

static const struct clock fake = {read_mono, read_wall, NULL};

static void pass(int64_t ms)
{
	mono_ms += ms;
	wall_ms += ms;
}

struct world {
	struct kube_config config;
	struct kube_exec exec;
	char *none[1];
	struct kube_auth *auth;
};

static char origin[] = "/k/config, context x";
static char server[] = "https://a";
static char version[] = V1;

static void world_release(struct world *w)
{
	kube_auth_free(w->auth);
}

#define WORLD(...) CLEANUP(world_release) struct world w = {.config = {.origin = origin, .server = server, __VA_ARGS__}}

static void begin(struct world *w)
{
	mono_ms = 1000;
	wall_ms = START_MS;
	w->auth = kube_auth_new(&w->config, &fake);
}

static unsigned must_token(struct world *w, const char *want)
{
	CLEANUP_BUF
	struct buf out = BUF_INIT(KUBE_TOKEN_MAX);
	struct error err = {0};
	unsigned serial = 77;
	if (kube_auth_token(w->auth, &out, &serial, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(buf_z(&out), want);
	return serial;
}

static void must_fail(struct world *w, int code, const char *message)
{
	CLEANUP_BUF
	struct buf out = BUF_INIT(KUBE_TOKEN_MAX);
	struct error err = {0};
	unsigned serial = 77;
	assert_int_equal(kube_auth_token(w->auth, &out, &serial, &err), -code);
	if (strstr(err.msg, message) == NULL)
		fail_msg("%s", err.msg);
	assert_null(strstr(err.msg, "hunter2"));
	assert_int_equal(out.n, 0);
	assert_int_equal(serial, 77);
}

// ---- Tokens of the config

static void test_none(void **state)
{
	(void)state;
	WORLD();
	begin(&w);
	unsigned serial = must_token(&w, "");
	assert_false(kube_auth_refused(w.auth, serial));
	kube_auth_free(NULL);
}

static void test_inline(void **state)
{
	(void)state;
	char token[] = "t";
	WORLD(.token.data = token);
	begin(&w);
	unsigned serial = must_token(&w, "t");
	assert_false(kube_auth_refused(w.auth, serial));
	assert_int_equal(must_token(&w, "t"), serial);
	CLEANUP_BUF
	struct buf out = BUF_INIT(0);
	struct error err = {0};
	assert_int_equal(kube_auth_token(w.auth, &out, &serial, &err), -EFBIG);
}

static void test_bad_inline(void **state)
{
	(void)state;
	char token[] = "hunter2\n";
	WORLD(.token.data = token);
	begin(&w);
	must_fail(&w, EINVAL, "/k/config, context x: byte 8 of the token is no printable ASCII character");
}

static void test_file(void **state)
{
	(void)state;
	char ignored[] = "inline";
	CLEANUP_FREE
	char *path = folder_put("token", "one\r\n \t");
	WORLD(.token = {ignored, path});
	begin(&w);
	unsigned first = must_token(&w, "one");
	folder_write("token", "two\n");
	pass(KUBE_TOKEN_REREAD_MS - 1);
	assert_int_equal(must_token(&w, "one"), first);
	pass(1);
	unsigned second = must_token(&w, "two");
	assert_int_not_equal(second, first);
	// The same text, read again, is the same credential.
	pass(KUBE_TOKEN_REREAD_MS);
	assert_int_equal(must_token(&w, "two"), second);
	folder_take("token");
}

static void test_file_lost(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *path = folder_put("token", "one");
	WORLD(.token.file = path);
	begin(&w);
	unsigned first = must_token(&w, "one");
	folder_take("token");
	pass(KUBE_TOKEN_REREAD_MS);
	assert_int_equal(must_token(&w, "one"), first);
	// Tried again by each call, as soon as it is back.
	folder_write("token", "hunter2 is no token");
	assert_int_equal(must_token(&w, "one"), first);
	folder_write("token", "two");
	assert_int_not_equal(must_token(&w, "two"), first);
	folder_take("token");
}

static void test_file_refused(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *path = folder_put("token", "one");
	WORLD(.token.file = path);
	begin(&w);
	unsigned first = must_token(&w, "one");
	assert_false(kube_auth_refused(w.auth, first)); // nothing new in the file
	assert_int_equal(must_token(&w, "one"), first);
	folder_write("token", "two");
	assert_true(kube_auth_refused(w.auth, first));
	unsigned second = must_token(&w, "two");
	assert_int_not_equal(second, first);
	assert_true(kube_auth_refused(w.auth, first)); // said late, by another request
	assert_int_equal(must_token(&w, "two"), second);
	folder_take("token");
	assert_false(kube_auth_refused(w.auth, second));
	must_fail(&w, ENOENT, path); // what was refused isn't kept
	folder_write("token", "three");
	assert_int_not_equal(must_token(&w, "three"), second);
	folder_take("token");
}

static void test_file_or_inline(void **state)
{
	(void)state;
	char token[] = "inline";
	CLEANUP_FREE
	char *path = folder_path("token");
	WORLD(.token = {token, path});
	begin(&w);
	unsigned first = must_token(&w, "inline");
	folder_write("token", "one"); // looked for by each call
	unsigned second = must_token(&w, "one");
	assert_int_not_equal(second, first);
	folder_take("token");
	assert_true(kube_auth_refused(w.auth, second));
	unsigned third = must_token(&w, "inline");
	assert_int_not_equal(third, second);
	assert_false(kube_auth_refused(w.auth, third));
	folder_write("token", "two");
	assert_int_not_equal(must_token(&w, "two"), third);
	folder_take("token");
}

struct file_case {
	const char *name;
	const char *text;
	int code;
	const char *message;
};

static struct file_case file_cases[] = {
	{"token file: empty", "", EINVAL, "/token: the token is empty; put one there"},
	{"token file: white space", " \n\t\r\n", EINVAL, "/token: the token is empty"},
	{"token file: two lines", "hunter2\nb", EINVAL, "/token: byte 8 of the token is no printable ASCII character"},
	{"token file: a space before it", " hunter2", EINVAL, "/token: byte 1 of the token"},
	{"token file: beyond ASCII", "hunter2\xC3\xA4", EINVAL, "/token: byte 8 of the token"},
};

static void test_bad_file(void **state)
{
	const struct file_case *c = *state;
	CLEANUP_FREE
	char *path = folder_put("token", c->text);
	WORLD(.token.file = path);
	begin(&w);
	must_fail(&w, c->code, c->message);
	folder_take("token");
}

static void test_large_file(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *text = xcalloc(KUBE_TOKEN_MAX + 3, 1);
	memset(text, 'a', KUBE_TOKEN_MAX);
	text[KUBE_TOKEN_MAX] = '\n';
	CLEANUP_FREE
	char *path = folder_put("token", text);
	WORLD(.token.file = path);
	begin(&w);
	(void)must_token(&w, (text[KUBE_TOKEN_MAX] = '\0', text));
	memset(text, 'a', KUBE_TOKEN_MAX + 1);
	folder_write("token", text);
	assert_false(kube_auth_refused(w.auth, 1));
	must_fail(&w, EFBIG, "/token: the token has more than the 65536 bytes");
	text[KUBE_TOKEN_MAX + 1] = 'a';
	folder_write("token", text);
	must_fail(&w, EFBIG, "/token is larger than the 65537 bytes");
	folder_take("token");
}

// ---- Plugins: one that prints the file "answer", and notes each run in "runs"

static void begin_plugin(struct world *w, char *command)
{
	w->exec = (struct kube_exec){.api_version = version, .command = command, .args = w->none, .env = w->none};
	w->config.exec = &w->exec;
	begin(w);
}

static char *put_plugin(const char *more)
{
	CLEANUP_FREE
	char *text = xasprintf("#!/bin/sh\necho x >>%s/runs\n%s\ncat %s/answer\n", folder, more, folder);
	return folder_put_program("plugin", text);
}

static void answer(const char *status)
{
	CLEANUP_FREE
	char *text = xasprintf("{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"status\":{%s}}", status);
	folder_write("answer", text);
}

static void assert_runs(size_t want)
{
	CLEANUP_FREE
	char *path = folder_path("runs");
	CLEANUP_BUF
	struct buf text = BUF_INIT(10000);
	struct error err;
	assert_int_equal(file_read(path, &text, &err), 0);
	assert_int_equal(text.n, 2 * want);
}

static void take_plugin(void)
{
	folder_take("plugin");
	folder_take("runs");
	folder_take("answer");
}

static void test_plugin(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *plugin = put_plugin("");
	WORLD();
	begin_plugin(&w, plugin);
	answer("\"token\":\"one\"");
	unsigned first = must_token(&w, "one");
	pass(INT64_C(1000) * 86400 * 365);
	assert_int_equal(must_token(&w, "one"), first); // no expiry: as long as it isn't refused
	assert_runs(1);
	answer("\"token\":\"two\"");
	assert_true(kube_auth_refused(w.auth, first));
	unsigned second = must_token(&w, "two");
	assert_int_not_equal(second, first);
	assert_runs(2);
	assert_true(kube_auth_refused(w.auth, first));
	assert_int_equal(must_token(&w, "two"), second);
	assert_runs(2);
	take_plugin();
}

struct expiry_case {
	const char *name;
	const char *status;
	int64_t good_ms; // for so long it isn't run again
};

static struct expiry_case expiry_cases[] = {
	{"plugin: half a minute early", "\"token\":\"t\",\"expirationTimestamp\":\"2026-01-02T04:04:05Z\"", 3570000},
	{"plugin: a short life", "\"token\":\"t\",\"expirationTimestamp\":\"2026-01-02T03:04:25Z\"", 15000},
	{"plugin: over already", "\"token\":\"t\",\"expirationTimestamp\":\"2026-01-02T03:04:04Z\"", 0},
};

static void test_expiry(void **state)
{
	const struct expiry_case *c = *state;
	CLEANUP_FREE
	char *plugin = put_plugin("");
	WORLD();
	begin_plugin(&w, plugin);
	answer(c->status);
	unsigned serial = must_token(&w, "t");
	if (c->good_ms > 0) {
		pass(c->good_ms - 1);
		assert_int_equal(must_token(&w, "t"), serial);
		assert_runs(1);
		pass(1);
	}
	assert_int_equal(must_token(&w, "t"), serial); // run again, with the same outcome
	assert_runs(2);
	take_plugin();
}

static void test_plugin_fails(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *plugin = put_plugin("");
	WORLD();
	begin_plugin(&w, plugin);
	folder_write("answer", "");
	must_fail(&w, EINVAL, "its output is not JSON");
	answer("\"token\":\"one\"");
	unsigned serial = must_token(&w, "one");
	assert_runs(2);
	// What was refused isn't used again, though there is nothing else.
	assert_true(kube_auth_refused(w.auth, serial));
	folder_write("answer", "");
	must_fail(&w, EINVAL, "its output is not JSON");
	take_plugin();
}

static void test_plugin_certificate(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *plugin = put_plugin("");
	WORLD();
	begin_plugin(&w, plugin);
	unsigned before = kube_auth_tls_generation(w.auth);
	answer("\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\"");
	unsigned first = must_token(&w, "");
	unsigned after = kube_auth_tls_generation(w.auth);
	assert_int_not_equal(after, before);
	assert_true(kube_auth_refused(w.auth, first));
	assert_int_equal(must_token(&w, ""), first);
	assert_int_equal(kube_auth_tls_generation(w.auth), after);
	answer("\"clientCertificateData\":\"D\",\"clientKeyData\":\"K\"");
	assert_true(kube_auth_refused(w.auth, first));
	assert_int_not_equal(must_token(&w, ""), first);
	assert_int_not_equal(kube_auth_tls_generation(w.auth), after);
	assert_runs(3);
	take_plugin();
}

// ---- Many at once

#define CALLERS 8

struct caller {
	struct world *world;
	pthread_t thread;
	atomic_int *calling;
	char token[8];
	struct error err;
};

static void *call(void *arg)
{
	struct caller *c = arg;
	CLEANUP_BUF
	struct buf out = BUF_INIT(sizeof(c->token) - 1);
	unsigned serial;
	atomic_fetch_add(c->calling, 1);
	if (kube_auth_token(c->world->auth, &out, &serial, &c->err) == 0)
		(void)snprintf(c->token, sizeof(c->token), "%s", buf_z(&out));
	(void)kube_auth_tls_generation(c->world->auth);
	return NULL;
}

// The plugin waits for a line of the test's, which comes when all callers have come.
static void test_together(void **state)
{
	const bool *good = *state;
	CLEANUP_FREE
	char *fifo = folder_path("fifo");
	CLEANUP_FREE
	char *more = xasprintf("read line <%s", fifo);
	CLEANUP_FREE
	char *plugin = put_plugin(more);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	if (*good)
		answer("\"token\":\"t\"");
	else
		folder_write("answer", "");
	WORLD();
	begin_plugin(&w, plugin);
	struct caller callers[CALLERS] = {0};
	atomic_int calling = 0;
	for (size_t i = 0; i < CALLERS; i++) {
		callers[i].world = &w;
		callers[i].calling = &calling;
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
	}
	while (atomic_load(&calling) < CALLERS)
		(void)sched_yield();
	// A later run finds its line there too; the pipe is open for reading as well, so that nobody waits for it.
	int end = open(fifo, O_RDWR | O_CLOEXEC);
	assert_true(end >= 0);
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(write(end, "\n", 1), 1);
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
	assert_int_equal(close(end), 0);
	for (size_t i = 0; i < CALLERS; i++) {
		assert_string_equal(callers[i].token, *good ? "t" : "");
		assert_int_equal(callers[i].err.code, *good ? 0 : EINVAL);
	}
	if (*good)
		assert_runs(1);
	folder_take("fifo");
	take_plugin();
}

// ---- What connections were set up with

static void test_generation(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *ca = folder_put("ca", "1");
	CLEANUP_FREE
	char *cert = folder_put("cert", "1");
	CLEANUP_FREE
	char *key = folder_path("key");
	WORLD(.ca.file = ca, .client_cert.file = cert, .client_key.file = key);
	begin(&w);
	unsigned seen = kube_auth_tls_generation(w.auth);
	assert_int_equal(kube_auth_tls_generation(w.auth), seen);
	static const char *const names[] = {"ca", "cert", "key", "ca"};
	for (size_t i = 0; i < COUNT(names); i++) {
		folder_write(names[i], "2");
		unsigned now = kube_auth_tls_generation(w.auth);
		assert_int_not_equal(now, seen);
		assert_int_equal(kube_auth_tls_generation(w.auth), now);
		seen = now;
	}
	folder_take("ca");
	assert_int_not_equal(kube_auth_tls_generation(w.auth), seen);
	folder_take("cert");
	folder_take("key");
}

int main(void)
{
	static bool good[] = {true, false};
	struct tests t = {0};
	tests_add(&t, "token: none", test_none, NULL);
	tests_add(&t, "token: inline", test_inline, NULL);
	tests_add(&t, "token: inline, with a newline", test_bad_inline, NULL);
	tests_add(&t, "token file: read again after a minute", test_file, NULL);
	tests_add(&t, "token file: the last one counts while it is gone", test_file_lost, NULL);
	tests_add(&t, "token file: read at once after a refusal", test_file_refused, NULL);
	tests_add(&t, "token file: inline while it isn't there", test_file_or_inline, NULL);
	ADD_TABLE(&t, file_cases, test_bad_file);
	tests_add(&t, "token file: the longest", test_large_file, NULL);
	tests_add(&t, "plugin: run once, and after a refusal", test_plugin, NULL);
	ADD_TABLE(&t, expiry_cases, test_expiry);
	tests_add(&t, "plugin: it fails", test_plugin_fails, NULL);
	tests_add(&t, "plugin: a certificate alone", test_plugin_certificate, NULL);
	tests_add(&t, "plugin: one run for all", test_together, &good[0]);
	tests_add(&t, "plugin: one failure for all", test_together, &good[1]);
	tests_add(&t, "generation: files", test_generation, NULL);
	return _cmocka_run_group_tests("kube_auth", t.v, t.n, folder_make, folder_remove);
}
