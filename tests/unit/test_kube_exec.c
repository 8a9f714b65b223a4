#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include <jansson.h>

#include "cases.h"
#include "common/files.h"
#include "common/kube/exec.h"
#include "folder.h"

#define V1 "client.authentication.k8s.io/v1"
#define PATIENCE_MS 60000

// ---- What a plugin prints

struct good_case {
	const char *name;
	const char *text;
	const char *token, *cert, *key;
	int64_t expires_ms;
};

#define CREDENTIAL(status) "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"status\":{" status "}}"

static struct good_case good_cases[] = {
	{"a token", CREDENTIAL("\"token\":\"abc\""), "abc", NULL, NULL, INT64_MAX},
	{"a token that expires", CREDENTIAL("\"token\":\"abc\",\"expirationTimestamp\":\"2026-01-02T03:04:05+01:00\""),
	 "abc", NULL, NULL, 1767319445000},
	{"a certificate", CREDENTIAL("\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\""), NULL, "C", "K", INT64_MAX},
	{"all, and more",
	 CREDENTIAL("\"more\":1,\"token\":\"t\",\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\","
				"\"expirationTimestamp\":null") "\n",
	 "t", "C", "K", INT64_MAX},
	{"empty is none", CREDENTIAL("\"token\":\"t\",\"clientCertificateData\":\"\",\"clientKeyData\":null"), "t", NULL,
	 NULL, INT64_MAX},
};

static void test_good(void **state)
{
	const struct good_case *c = *state;
	struct error err = {0};
	CLEANUP_KUBE_CREDENTIAL
	struct kube_credential got = {0};
	assert_int_equal(kube_credential_parse(str_from(c->text), V1, &got, &err), 0);
	assert_text(got.token, c->token);
	assert_text(got.cert, c->cert);
	assert_text(got.key, c->key);
	assert_true(got.expires_ms == c->expires_ms);
}

struct bad_case {
	const char *name;
	const char *text;
	const char *message;
};

static struct bad_case bad_cases[] = {
	{"nothing", "", "its output is not JSON (line 1, column 0)"},
	{"bare text", "hunter2", "its output is not JSON"},
	{"a text after it", CREDENTIAL("\"token\":\"t\"") "hunter2", "its output is not JSON"},
	{"a list", "[\"hunter2\"]", "its kind is \"(none)\", but must be ExecCredential"},
	{"another kind", "{\"kind\":\"Pod\"}", "its kind is \"Pod\""},
	{"another version", "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}",
	 "its apiVersion is \"client.authentication.k8s.io/v1beta1\", but must be " V1 ", as the kubeconfig says"},
	{"no status", "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\"}", "status has neither a token nor"},
	{"an empty status", CREDENTIAL("\"token\":\"\""), "status has neither a token nor a client certificate"},
	{"a number", CREDENTIAL("\"token\":5"), "status.token must be a string"},
	{"a newline", CREDENTIAL("\"token\":\"hunter2\\r\\nX: y\""), "status.token: byte 8 of the token is no printable"},
	{"a space", CREDENTIAL("\"token\":\"hunter2 \""), "status.token: byte 8 of the token is no printable"},
	{"a certificate alone", CREDENTIAL("\"token\":\"t\",\"clientCertificateData\":\"C\""), "has only one of"},
	{"a key alone", CREDENTIAL("\"clientKeyData\":\"hunter2\""), "has only one of"},
	{"a date", CREDENTIAL("\"token\":\"hunter2\",\"expirationTimestamp\":\"tomorrow\""),
	 "status.expirationTimestamp is \"tomorrow\", which is no RFC 3339 time"},
	{"a number for a date", CREDENTIAL("\"token\":\"hunter2\",\"expirationTimestamp\":17}"), "not JSON"},
	{"seconds for a date", CREDENTIAL("\"token\":\"hunter2\",\"expirationTimestamp\":17"), "is \"(no string)\""},
};

static void assert_message(const struct error *err, const char *part)
{
	if (strstr(err->msg, part) == NULL)
		fail_msg("%s", err->msg);
	assert_null(strstr(err->msg, "hunter2"));
}

static void test_bad(void **state)
{
	const struct bad_case *c = *state;
	struct error err = {0};
	struct kube_credential got = {0};
	assert_int_equal(kube_credential_parse(str_from(c->text), V1, &got, &err), -EINVAL);
	assert_message(&err, c->message);
	assert_true(got.token == NULL && got.cert == NULL && got.key == NULL);
}

static void test_token_length(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_FREE
	char *text = xcalloc(KUBE_TOKEN_MAX + 1, 1);
	memset(text, 'a', KUBE_TOKEN_MAX + 1);
	assert_int_equal(kube_token_check((struct str){text, KUBE_TOKEN_MAX}, "f", &err), 0);
	assert_int_equal(kube_token_check((struct str){text, KUBE_TOKEN_MAX + 1}, "f", &err), -EFBIG);
	assert_string_equal(err.msg, "f: the token has more than the 65536 bytes that can be sent");
	assert_int_equal(kube_token_check(STR(""), "f", &err), -EINVAL);
	assert_string_equal(err.msg, "f: the token is empty; put one there");
	assert_int_equal(kube_token_check(STR("a\x80"), "f", &err), -EINVAL);
	assert_int_equal(kube_token_check(STR("\x7F"), "f", &err), -EINVAL);
	assert_int_equal(kube_token_check(STR("!~"), "f", &err), 0);
}

// ---- Running one

struct world {
	struct kube_config config;
	struct kube_exec exec;
	char *args[4], *env[4];
};

static char origin[] = "/k/config, context x";
static char server[] = "https://a";
static char version[] = V1;

static struct world *world_of(struct world *w, char *command)
{
	*w = (struct world){.exec = {.api_version = version, .command = command, .args = w->args, .env = w->env},
						.config = {.origin = origin, .server = server, .exec = &w->exec}};
	return w;
}

static char *put_plugin(const char *body)
{
	CLEANUP_FREE
	char *text = xasprintf("#!/bin/sh\n%s\n", body);
	return folder_put_program("plugin", text);
}

#define ANSWER "echo '" CREDENTIAL("\"token\":\"t\"") "'"

static void must_run(struct world *w, const char *token)
{
	struct error err = {0};
	CLEANUP_KUBE_CREDENTIAL
	struct kube_credential got = {0};
	if (kube_exec_run(&w->config, PATIENCE_MS, &got, &err) < 0)
		fail_msg("%s", err.msg);
	assert_text(got.token, token);
}

static void must_fail(struct world *w, int timeout_ms, int code, const char *message)
{
	struct error err = {0};
	struct kube_credential got = {0};
	assert_int_equal(kube_exec_run(&w->config, timeout_ms, &got, &err), -code);
	assert_message(&err, message);
	CLEANUP_FREE
	char *start = xasprintf("%s: the exec plugin \"%s\" ", origin, w->exec.command);
	assert_memory_equal(err.msg, start, strlen(start) - 1);
	assert_null(got.token);
}

static void test_run(void **state)
{
	(void)state;
	struct world w;
	CLEANUP_FREE
	char *plugin = put_plugin("read x && exit 9\n" // stdin is empty
							  "[ \"$1\" = 'a b' ] && [ \"$2\" = '' ] && [ $# = 2 ] || exit 8\n"
							  "[ \"$KEPT\" = yes ] && [ \"$CHANGED\" = last ] || exit 7\n"
							  "[ -n \"$KUBERNETES_EXEC_INFO\" ] || exit 6\n"
							  "[ \"$(tr '\\0' '\\n' </proc/$$/environ | grep -c ^CHANGED=)\" = 1 ] || exit 5\n" ANSWER);
	char args[2][4] = {"a b", ""};
	char env[3][16] = {"CHANGED=first", "CHANGED=last", "CHANGE=d"};
	(void)world_of(&w, plugin);
	for (size_t i = 0; i < 2; i++)
		w.args[i] = args[i];
	for (size_t i = 0; i < 3; i++)
		w.env[i] = env[i];
	assert_int_equal(setenv("KEPT", "yes", 1) + setenv("CHANGED", "never", 1), 0);
	assert_int_equal(setenv("KUBERNETES_EXEC_INFO", "", 1), 0);
	int saved = dup(STDIN_FILENO);
	int text = open(plugin, O_RDONLY | O_CLOEXEC);
	assert_true(saved >= 0 && text >= 0 && dup2(text, STDIN_FILENO) == STDIN_FILENO);
	must_run(&w, "t");
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(close(saved) + close(text), 0);
	assert_int_equal(unsetenv("KEPT") + unsetenv("CHANGED") + unsetenv("KUBERNETES_EXEC_INFO"), 0);
	folder_take("plugin");
}

// Looked up in our PATH when its name has no '/'.
static void test_path(void **state)
{
	(void)state;
	struct world w;
	char name[] = "plugin";
	free(put_plugin(ANSWER));
	CLEANUP_FREE
	char *old = xstrdup(getenv("PATH"));
	CLEANUP_FREE
	char *path = xasprintf("%s:%s", folder, old);
	assert_int_equal(setenv("PATH", path, 1), 0);
	must_run(world_of(&w, name), "t");
	assert_int_equal(setenv("PATH", old, 1), 0);
	folder_take("plugin");
	must_fail(&w, PATIENCE_MS, ENOENT,
			  "can't be run: No such file or directory; install it, or correct users[].user.exec.command");
	char hint[] = "get it there";
	w.exec.install_hint = hint;
	must_fail(&w, PATIENCE_MS, ENOENT, "can't be run: No such file or directory; get it there");
}

static void test_not_executable(void **state)
{
	(void)state;
	struct world w;
	CLEANUP_FREE
	char *plugin = folder_put("plugin", "x");
	must_fail(world_of(&w, plugin), PATIENCE_MS, EACCES, "can't be run: Permission denied; ");
	folder_take("plugin");
}

struct end_case {
	const char *name;
	const char *body;
	int code;
	const char *message;
};

static struct end_case end_cases[] = {
	{"run: a status", "echo no session >&2\necho hunter2\nexit 3", EIO, "ended with status 3: no session"},
	{"run: a status, said nothing", "exit 4", EIO, "ended with status 4: nothing on stderr"},
	{"run: a signal", "kill -9 $$", EIO, "was killed by signal 9: nothing on stderr"},
	{"run: no JSON", "echo hunter2", EINVAL, ": its output is not JSON"},
	{"run: much on stderr", "head -c 300000 /dev/zero | tr '\\0' x >&2\nexit 1", EIO, "ended with status 1: xxxx"},
	{"run: much on stdout", "cat /dev/zero", EFBIG, "prints more than the 1048576 bytes that are read"},
	{"run: control characters", "printf 'a\\033[31m\\nb' >&2; exit 1", EIO, "ended with status 1: a?[31m?b"},
};

static void test_end(void **state)
{
	const struct end_case *c = *state;
	struct world w;
	CLEANUP_FREE
	char *plugin = put_plugin(c->body);
	must_fail(world_of(&w, plugin), PATIENCE_MS, c->code, c->message);
	folder_take("plugin");
}

// stderr beyond what is kept doesn't stop a plugin that succeeds.
static void test_chatty(void **state)
{
	(void)state;
	struct world w;
	CLEANUP_FREE
	char *plugin = put_plugin("head -c 300000 /dev/zero >&2\n" ANSWER);
	must_run(world_of(&w, plugin), "t");
	folder_take("plugin");
}

static pid_t read_pid(const char *name)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(32);
	struct error err;
	CLEANUP_FREE
	char *path = folder_path(name);
	assert_int_equal(file_read(path, &text, &err), 0);
	return (pid_t)strtol(buf_z(&text), NULL, 10);
}

// It is killed with what it started: nobody is left to hold the other end of a pipe open.
static void test_timeout(void **state)
{
	(void)state;
	struct world w;
	CLEANUP_FREE
	char *fifo = folder_path("fifo");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	int end = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(end >= 0);
	CLEANUP_FREE
	char *body = xasprintf("exec 5>%s\nsleep 1000 &\necho $$ >%s/pid\nsleep 1000", fifo, folder);
	CLEANUP_FREE
	char *plugin = put_plugin(body);
	must_fail(world_of(&w, plugin), 2000, ETIMEDOUT, "has not ended after 2 s: it gets no input, so it must not ask");
	pid_t pid = read_pid("pid");
	assert_true(pid > 1);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(fcntl(end, F_SETFL, 0), 0);
	char byte;
	assert_int_equal(read(end, &byte, 1), 0);
	assert_int_equal(close(end), 0);
	folder_take("fifo");
	folder_take("pid");
	folder_take("plugin");
}

// What it leaves in the background doesn't hold us up, though it has the plugin's stdout.
static void test_background(void **state)
{
	(void)state;
	struct world w;
	CLEANUP_FREE
	char *body = xasprintf("sleep 1000 &\necho $! >%s/pid\n" ANSWER, folder);
	CLEANUP_FREE
	char *plugin = put_plugin(body);
	must_run(world_of(&w, plugin), "t");
	assert_int_equal(kill(read_pid("pid"), SIGKILL), 0);
	folder_take("pid");
	folder_take("plugin");
}

// No signal that we block or ignore is blocked or ignored there.
static void test_signals(void **state)
{
	(void)state;
	struct world w;
	CLEANUP_FREE
	char *plugin = put_plugin("kill -TERM $$\n" ANSWER);
	sigset_t term;
	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &term, NULL), 0);
	must_fail(world_of(&w, plugin), PATIENCE_MS, EIO, "was killed by signal 15");
	assert_int_equal(sigprocmask(SIG_UNBLOCK, &term, NULL), 0);
	assert_true(signal(SIGTERM, SIG_IGN) != SIG_ERR);
	must_fail(&w, PATIENCE_MS, EIO, "was killed by signal 15");
	assert_true(signal(SIGTERM, SIG_DFL) != SIG_ERR);
	folder_take("plugin");
}

// ---- What it is told

static void assert_info(const struct world *w, const char *want)
{
	struct error err = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(100000);
	if (kube_exec_info(&w->config, &out, &err) < 0)
		fail_msg("%s", err.msg);
	json_auto_t *got = json_loads(buf_z(&out), JSON_REJECT_DUPLICATES, NULL);
	json_auto_t *expected = json_loads(want, 0, NULL);
	assert_non_null(expected);
	if (!json_equal(got, expected))
		fail_msg("%s", buf_z(&out));
}

#define INFO "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"spec\":{\"interactive\":false"

static void test_info(void **state)
{
	(void)state;
	struct world w;
	char name[] = "p";
	(void)world_of(&w, name);
	assert_info(&w, INFO "}}");
	w.exec.provide_cluster_info = true;
	assert_info(&w, INFO ",\"cluster\":{\"server\":\"https://a\"}}}");
	char extra[] = "{\"audience\":[\"b\"]}";
	char proxy[] = "http://p";
	CLEANUP_FREE
	char *ca = folder_put("ca", "PEM");
	w.exec.cluster_config = extra;
	w.config.proxy_url = proxy;
	w.config.tls_server_name = name;
	w.config.ca.file = ca;
	assert_info(&w, INFO ",\"cluster\":{\"server\":\"https://a\",\"config\":{\"audience\":[\"b\"]},\"proxy-url\":"
						 "\"http://p\",\"tls-server-name\":\"p\",\"certificate-authority-data\":\"UEVN\"}}}");
	folder_take("ca");
	must_fail(&w, PATIENCE_MS, ENOENT, ": certificate-authority: can't open ");
	w.config = (struct kube_config){.origin = origin, .server = server, .exec = &w.exec, .insecure = true};
	w.exec.cluster_config = NULL;
	assert_info(&w, INFO ",\"cluster\":{\"server\":\"https://a\",\"insecure-skip-tls-verify\":true}}}");
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, good_cases, test_good);
	ADD_TABLE(&t, bad_cases, test_bad);
	tests_add(&t, "tokens: what can be sent", test_token_length, NULL);
	tests_add(&t, "run: arguments, environment, empty stdin", test_run, NULL);
	tests_add(&t, "run: found in PATH, or not", test_path, NULL);
	tests_add(&t, "run: not executable", test_not_executable, NULL);
	ADD_TABLE(&t, end_cases, test_end);
	tests_add(&t, "run: a success with much on stderr", test_chatty, NULL);
	tests_add(&t, "run: too long, killed with its children", test_timeout, NULL);
	tests_add(&t, "run: something stays in the background", test_background, NULL);
	tests_add(&t, "run: signals are as usual", test_signals, NULL);
	tests_add(&t, "info: what the plugin is told", test_info, NULL);
	return _cmocka_run_group_tests("kube_exec", t.v, t.n, folder_make, folder_remove);
}
