// Kubeconfig texts, divided by NUL bytes: no crash; what is taken keeps its promises, and what isn't says why.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube/config.h"
#include "common/kube/server_url.h"
#include "common/mem.h"

#define FILES_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, text != NULL ? text : "(null)");
	abort();
}

static bool has(const struct kube_text *t)
{
	return t->data != NULL || t->file != NULL;
}

static bool same(const char *a, const char *b)
{
	return a != NULL && b != NULL ? strcmp(a, b) == 0 : a == b;
}

static void check_text(const struct kube_text *t, const char *what)
{
	must(t->data == NULL || t->data[0] != '\0', what, "empty");
	must(t->file == NULL || t->file[0] == '/', what, t->file);
}

static void check_server(const struct kube_config *c)
{
	struct error err;
	struct server_url u;
	must(server_url_parse(c->server, "server", &u, &err) == 0, "server", c->server);
	must(same(u.host, c->host) && u.port == c->port && same(u.path, c->path) && u.tls == c->tls, "server", c->server);
	CLEANUP_FREE
	char *again = server_url_text(&u);
	must(same(again, c->server), "server", again);
}

static void check_config(const struct kube_config *c)
{
	check_server(c);
	check_text(&c->ca, "ca");
	check_text(&c->client_cert, "client certificate");
	check_text(&c->client_key, "client key");
	check_text(&c->token, "token");
	must(!(c->insecure && has(&c->ca)), "insecure", "with a CA");
	must(has(&c->client_cert) == has(&c->client_key), "certificate and key", c->origin);
	must(c->tls || (!has(&c->token) && !has(&c->client_cert) && c->exec == NULL), "credentials over http", c->server);
	must(c->exec == NULL || (c->exec->command[0] != '\0' && c->exec->args != NULL && c->exec->env != NULL), "exec",
		 "parts");
	must(c->origin != NULL && c->ns != NULL && c->ns[0] != '\0', "namespace", c->ns);
}

// The first that sets something wins: the same files once more change nothing.
static void check_twice(const struct kube_config *c, const char **texts, const char **names, size_t n)
{
	struct error err;
	memcpy(texts + n, texts, n * sizeof(*texts));
	memcpy(names + n, names, n * sizeof(*names));
	struct kube_config *again = kube_config_parse(texts, names, 2 * n, NULL, &err);
	must(again != NULL, "twice", err.msg);
	must(same(c->origin, again->origin) && same(c->server, again->server) && same(c->token.data, again->token.data) &&
			 same(c->ns, again->ns),
		 "twice", again->origin);
	kube_config_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *texts[2 * FILES_MAX];
	const char *names[2 * FILES_MAX] = {"/0/config", "/1/config", "/2/config", "/3/config"};
	size_t files = 0;
	struct error err = {0};
	CLEANUP_FREE
	char *copy = xstrndup((struct str){(const char *)data, n});
	for (size_t at = 0; at <= n && files < FILES_MAX; at += strlen(copy + at) + 1)
		texts[files++] = copy + at;
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = kube_config_parse(texts, names, files, NULL, &err);
	if (c == NULL) {
		must(err.msg[0] == '/' && (err.code == EINVAL || err.code == ENOENT || err.code == EFBIG), "error", err.msg);
		return 0;
	}
	check_config(c);
	check_twice(c, texts, names, files);
	return 0;
}
