#include "common/kube/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/encode.h"
#include "common/kube/config_private.h"
#include "common/mem.h"
#include "common/secret.h"

#define INFO_NAME "KUBERNETES_EXEC_INFO"
#define INFO_MAX (2 * KUBE_PEM_MAX)
#define READ_BYTES ((size_t)4096)

// ---- What it prints

void kube_credential_release(struct kube_credential *c)
{
	secret_free(c->token);
	secret_free(c->cert);
	secret_free(c->key);
	*c = (struct kube_credential){0};
}

int kube_token_check(struct str token, const char *what, struct error *err)
{
	if (token.n == 0)
		return error_set(err, EINVAL, "%s: the token is empty; put one there", what);
	if (token.n > KUBE_TOKEN_MAX)
		return error_set(err, EFBIG, "%s: the token has more than the %zu bytes that can be sent", what,
						 KUBE_TOKEN_MAX);
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] <= ' ' || token.p[i] > '~')
			return error_set(err, EINVAL,
							 "%s: byte %zu of the token is no printable ASCII character; put nothing but a "
							 "token there",
							 what, i + 1);
	return 0;
}

static int take_text(const json_t *status, const char *key, char **ret, struct error *err)
{
	const json_t *v = json_object_get(status, key);
	if (v != NULL && !json_is_null(v) && !json_is_string(v))
		return error_set(err, EINVAL, "status.%s must be a string", key);
	*ret = json_string_length(v) > 0 ? xstrdup(json_string_value(v)) : NULL;
	return 0;
}

static int take_expiry(const json_t *status, int64_t *ret_ms, struct error *err)
{
	const json_t *v = json_object_get(status, "expirationTimestamp");
	int64_t us = 0;
	*ret_ms = INT64_MAX;
	if (v == NULL || json_is_null(v))
		return 0;
	const char *text = json_string_value(v);
	if (text == NULL || clock_parse(text, &us) < 0)
		return error_set(err, EINVAL, "status.expirationTimestamp is \"%s\", which is no RFC 3339 time",
						 text != NULL ? text : "(no string)");
	*ret_ms = us / 1000;
	return 0;
}

static int check_word(const json_t *root, const char *key, const char *wanted, struct error *err)
{
	const char *got = json_string_value(json_object_get(root, key));
	if (got != NULL && strcmp(got, wanted) == 0)
		return 0;
	return error_set(err, EINVAL, "its %s is \"%s\", but must be %s, as the kubeconfig says", key,
					 got != NULL ? got : "(none)", wanted);
}

static int take_status(const json_t *status, struct kube_credential *c, struct error *err)
{
	if (take_text(status, "token", &c->token, err) < 0 ||
		take_text(status, "clientCertificateData", &c->cert, err) < 0 ||
		take_text(status, "clientKeyData", &c->key, err) < 0 || take_expiry(status, &c->expires_ms, err) < 0)
		return -err->code;
	if ((c->cert == NULL) != (c->key == NULL))
		return error_set(err, EINVAL, "status has only one of clientCertificateData and clientKeyData");
	if (c->token == NULL && c->cert == NULL)
		return error_set(err, EINVAL, "status has neither a token nor a client certificate");
	return c->token != NULL ? kube_token_check(str_from(c->token), "status.token", err) : 0;
}

int kube_credential_parse(struct str text, const char *api_version, struct kube_credential *ret, struct error *err)
{
	json_error_t why;
	CLEANUP_SECRET_JSON
	json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why);
	struct kube_credential c = {0};
	if (root == NULL) // jansson's word may quote what it read
		return error_set(err, EINVAL, "its output is not JSON (line %d, column %d)", why.line, why.column);
	if (check_word(root, "kind", "ExecCredential", err) < 0 || check_word(root, "apiVersion", api_version, err) < 0)
		return -err->code;
	if (take_status(json_object_get(root, "status"), &c, err) < 0) {
		kube_credential_release(&c);
		return -err->code;
	}
	*ret = c;
	return 0;
}

// ---- What it is told

static json_t *text_or_null(const char *text)
{
	return text != NULL ? json_string(text) : NULL;
}

static int describe_cluster(const struct kube_config *config, json_t *spec, struct error *err)
{
	CLEANUP_BUF
	struct buf ca = BUF_INIT(KUBE_PEM_MAX);
	CLEANUP_BUF
	struct buf data = BUF_INIT(INFO_MAX);
	if (kube_text_read(&config->ca, &ca, err) < 0)
		return error_prefix(err, "certificate-authority");
	base64_encode(buf_str(&ca), &data);
	const char *extra = config->exec->cluster_config;
	// NULL leaves a field out.
	json_t *cluster = json_pack(
		"{s:s, s:o*, s:o*, s:o*, s:o*, s:o*}", "server", config->server, "tls-server-name",
		text_or_null(config->tls_server_name), "insecure-skip-tls-verify", config->insecure ? json_true() : NULL,
		"certificate-authority-data", data.n > 0 ? json_string(buf_z(&data)) : NULL, "proxy-url",
		text_or_null(config->proxy_url), "config", extra != NULL ? json_loads(extra, JSON_DECODE_ANY, NULL) : NULL);
	if (cluster == NULL || json_object_set_new(spec, "cluster", cluster) < 0)
		return error_set(err, EINVAL, "the cluster's fields are no JSON texts");
	return 0;
}

int kube_exec_info(const struct kube_config *config, struct buf *out, struct error *err)
{
	CLEANUP_SECRET_JSON
	json_t *root = json_pack("{s:s, s:s, s:{s:b}}", "kind", "ExecCredential", "apiVersion", config->exec->api_version,
							 "spec", "interactive", 0);
	if (root == NULL)
		return error_set(err, EINVAL, "the plugin's apiVersion is no JSON text");
	if (config->exec->provide_cluster_info && describe_cluster(config, json_object_get(root, "spec"), err) < 0)
		return -err->code;
	char *text = json_dumps(root, JSON_COMPACT);
	if (text == NULL)
		return error_set(err, ENOMEM, "can't write what the plugin is told");
	buf_addz(out, text);
	secret_free(text);
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "the plugin would be told more than %zu bytes", out->max);
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");
	return strncmp(a, b, n) == 0 && b[n] == '=';
}

static bool is_overridden(const char *name, char *const *by)
{
	for (size_t i = 0; by[i] != NULL; i++)
		if (same_name(name, by[i]))
			return true;
	return false;
}

// Ours, then the plugin's, of which the last of a name counts, then `info`. New array of borrowed texts.
static char **make_environment(const struct kube_exec *x, char *info)
{
	size_t ours = 0;
	size_t theirs = 0;
	size_t n = 0;
	while (environ[ours] != NULL)
		ours++;
	while (x->env[theirs] != NULL)
		theirs++;
	char **env = xcalloc(ours + theirs + 2, sizeof(*env));
	for (size_t i = 0; i < ours; i++)
		if (!is_overridden(environ[i], x->env) && !same_name(environ[i], info))
			env[n++] = environ[i];
	for (size_t i = 0; i < theirs; i++)
		if (!is_overridden(x->env[i], x->env + i + 1) && !same_name(x->env[i], info))
			env[n++] = x->env[i];
	env[n] = info;
	return env;
}

// ---- Running it

struct child {
	pid_t pid;
	int out, err, life; // our ends of its pipes, and what can be polled for its end; -1 for closed
	struct buf output;
	struct buf said;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void child_release(struct child *c)
{
	if (c->pid > 0) {
		(void)kill(-c->pid, SIGKILL);
		(void)waitpid(c->pid, NULL, 0);
	}
	close_fd(&c->out);
	close_fd(&c->err);
	close_fd(&c->life);
	secret_buf_release(&c->output);
	secret_buf_release(&c->said);
}

struct spawn_how {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
};

static void spawn_how_release(struct spawn_how *how)
{
	(void)posix_spawn_file_actions_destroy(&how->actions);
	(void)posix_spawnattr_destroy(&how->attr);
}

// A process group of its own, no signal blocked or ignored, and nothing of ours but the two pipes.
static int spawn_how_init(struct spawn_how *how, int out, int err)
{
	sigset_t none;
	sigset_t all;
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	int rc = posix_spawn_file_actions_init(&how->actions);
	rc = rc == 0 ? posix_spawnattr_init(&how->attr) : rc;
	rc = rc == 0 ? posix_spawn_file_actions_addopen(&how->actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) : rc;
	rc = rc == 0 ? posix_spawn_file_actions_adddup2(&how->actions, out, STDOUT_FILENO) : rc;
	rc = rc == 0 ? posix_spawn_file_actions_adddup2(&how->actions, err, STDERR_FILENO) : rc;
	rc = rc == 0 ? posix_spawnattr_setsigmask(&how->attr, &none) : rc;
	rc = rc == 0 ? posix_spawnattr_setsigdefault(&how->attr, &all) : rc;
	rc = rc == 0 ? posix_spawnattr_setpgroup(&how->attr, 0) : rc;
	return rc == 0 ? posix_spawnattr_setflags(&how->attr,
											  POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)
				   : rc;
}

static int spawn(const struct kube_exec *x, char **argv, char **env, int out, int err_fd, pid_t *ret)
{
	CLEANUP(spawn_how_release) struct spawn_how how = {0};
	int rc = spawn_how_init(&how, out, err_fd);
	return rc == 0 ? posix_spawnp(ret, x->command, &how.actions, &how.attr, argv, env) : rc;
}

static int fail_start(const struct kube_exec *x, int code, struct error *err)
{
	const char *hint = x->install_hint != NULL ? x->install_hint : "install it, or correct users[].user.exec.command";
	return error_set(err, code, "can't be run: %s; %s", strerror(code), hint);
}

// Only our end is read without waiting: the plugin may not expect that of its own.
static int pipe_new(int fds[2])
{
	return pipe2(fds, O_CLOEXEC) == 0 ? fcntl(fds[0], F_SETFL, O_NONBLOCK) : -1;
}

static int child_start(const struct kube_config *config, struct child *c, struct error *err)
{
	const struct kube_exec *x = config->exec;
	CLEANUP_SECRET_BUF
	struct buf info = secret_buf(INFO_MAX);
	int out[2] = {-1, -1};
	int said[2] = {-1, -1};
	buf_addz(&info, INFO_NAME "=");
	if (kube_exec_info(config, &info, err) < 0)
		return -err->code;
	size_t n = 0;
	while (x->args[n] != NULL)
		n++;
	CLEANUP_FREE
	char **argv = xcalloc(n + 2, sizeof(*argv));
	argv[0] = x->command;
	memcpy(argv + 1, x->args, n * sizeof(*argv));
	CLEANUP_FREE
	char **env = make_environment(x, info.p);
	if (pipe_new(out) < 0 || pipe_new(said) < 0) {
		(void)error_set(err, errno, "can't make a pipe: %s", strerror(errno));
	} else {
		int rc = spawn(x, argv, env, out[1], said[1], &c->pid);
		if (rc != 0)
			(void)fail_start(x, rc, err);
	}
	c->out = out[0];
	c->err = said[0];
	close_fd(&out[1]);
	close_fd(&said[1]);
	if (c->pid <= 0)
		return -err->code;
	c->life = pidfd_open(c->pid, 0);
	return c->life >= 0 ? 0
						: error_set(err, errno, "can't be watched: %s (Linux 5.3 or later is needed)", strerror(errno));
}

// All that is there now. Beyond the buffer's maximum it is read and dropped; its end closes the pipe.
static int drain(int *fd, struct buf *to)
{
	while (*fd >= 0) {
		char chunk[READ_BYTES];
		ssize_t n = read(*fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			close_fd(fd);
			break;
		}
		size_t room = to->max - to->n;
		bool fits = (size_t)n <= room;
		buf_add(to, chunk, fits ? (size_t)n : room);
		explicit_bzero(chunk, (size_t)n);
		if (!fits)
			return -EFBIG;
	}
	return 0;
}

// Until it ends, not until its pipes are closed: what it left in the background may hold them.
static int child_wait(struct child *c, int timeout_ms, int *ret_status, struct error *err)
{
	int64_t end = clock_mono_ms(&clock_real) + timeout_ms;
	struct pollfd p[] = {{.fd = c->life, .events = POLLIN}, {.events = POLLIN}, {.events = POLLIN}};
	do {
		int64_t left = end - clock_mono_ms(&clock_real);
		p[1].fd = c->out;
		p[2].fd = c->err;
		int n = poll(p, sizeof(p) / sizeof(p[0]), left > 0 ? (int)left : 0);
		if (n < 0 && errno != EINTR)
			return error_set(err, errno, "can't be waited for: %s", strerror(errno));
		if (n == 0)
			return error_set(err, ETIMEDOUT, "has not ended after %d s: it gets no input, so it must not ask for any",
							 timeout_ms / 1000);
		(void)drain(&c->err, &c->said);
		if (drain(&c->out, &c->output) < 0)
			return error_set(err, EFBIG, "prints more than the %zu bytes that are read", c->output.max);
	} while ((p[0].revents & POLLIN) == 0);
	pid_t got = waitpid(c->pid, ret_status, 0);
	c->pid = 0;
	return got > 0 ? 0 : error_set(err, errno, "how it ended is not known: %s", strerror(errno));
}

static int check_status(const struct child *c, int status, struct error *err)
{
	const char *said = c->said.n > 0 ? buf_z(&c->said) : "nothing on stderr";
	if (WIFSIGNALED(status))
		return error_set(err, EIO, "was killed by signal %d: %s", WTERMSIG(status), said);
	if (WEXITSTATUS(status) != 0)
		return error_set(err, EIO, "ended with status %d: %s", WEXITSTATUS(status), said);
	return 0;
}

static int run(const struct kube_config *config, int timeout_ms, struct kube_credential *ret, struct error *err)
{
	CLEANUP(child_release)
	struct child c = {
		.out = -1,
		.err = -1,
		.life = -1,
		.output = secret_buf(KUBE_EXEC_OUTPUT_MAX),
		.said = secret_buf(KUBE_EXEC_STDERR_MAX),
	};
	int status = 0;
	if (child_start(config, &c, err) < 0 || child_wait(&c, timeout_ms, &status, err) < 0 ||
		check_status(&c, status, err) < 0)
		return -err->code;
	return kube_credential_parse(buf_str(&c.output), config->exec->api_version, ret, err);
}

int kube_exec_run(const struct kube_config *config, int timeout_ms, struct kube_credential *ret, struct error *err)
{
	if (run(config, timeout_ms, ret, err) == 0)
		return 0;
	return error_prefix(err, "%s: the exec plugin \"%s\"", config->origin, config->exec->command);
}
