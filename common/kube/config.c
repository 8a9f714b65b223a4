#include "common/kube/config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/kube/config_private.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "common/secret.h"

#define KUBECONFIG_FILES_MAX 64
#define NAMESPACE_MAX 253

// ---- The struct

static void kube_text_release(struct kube_text *t)
{
	secret_free(t->data);
	free(t->file);
	*t = (struct kube_text){0};
}

// Plugins are given secrets this way too.
static void free_texts(char **v)
{
	for (size_t i = 0; v != NULL && v[i] != NULL; i++)
		secret_free(v[i]);
	free(v);
}

void kube_config_drop_exec(struct kube_config *c)
{
	struct kube_exec *x = TAKE_PTR(c->exec);
	if (x == NULL)
		return;
	free(x->api_version);
	free(x->command);
	free_texts(x->args);
	free_texts(x->env);
	free(x->install_hint);
	free(x->cluster_config);
	free(x);
}

void kube_config_drop_credentials(struct kube_config *c)
{
	kube_text_release(&c->client_cert);
	kube_text_release(&c->client_key);
	kube_text_release(&c->token);
}

void kube_config_free(struct kube_config *c)
{
	if (c == NULL)
		return;
	kube_config_drop_credentials(c);
	kube_config_drop_exec(c);
	kube_text_release(&c->ca);
	secret_free(c->proxy_url);
	free(c->origin);
	free(c->server);
	free(c->host);
	free(c->path);
	free(c->tls_server_name);
	free(c->ns);
	free(c);
}

void kube_config_free_slot(struct kube_config **slot)
{
	kube_config_free(*slot);
}

void kube_config_set_server(struct kube_config *c, const struct server_url *u)
{
	c->server = server_url_text(u);
	c->host = xstrdup(u->host);
	c->port = u->port;
	c->path = xstrdup(u->path);
	c->tls = u->tls;
}

struct buf kube_text_buf(const struct kube_text *t, size_t max)
{
	struct buf b = BUF_INIT(max);
	size_t size = t->data != NULL ? strlen(t->data) : 0;
	if (t->data == NULL && t->file != NULL)
		size = (size_t)file_mark(t->file).size;
	buf_expect(&b, size < max && size + FILE_STEP_BYTES < max ? size + FILE_STEP_BYTES : max);
	return b;
}

int kube_text_read(const struct kube_text *t, struct buf *out, struct error *err)
{
	if (t->data == NULL)
		return t->file != NULL ? file_read_regular(t->file, out, err) : 0;
	buf_addz(out, t->data);
	return buf_ok(out) ? 0 : error_set(err, EFBIG, "a text of more than %zu bytes is given inline", out->max);
}

// ---- Files

// Wiped, as there are tokens and keys in it.
struct sources {
	struct buf text[KUBECONFIG_FILES_MAX];
	char *name[KUBECONFIG_FILES_MAX]; // absolute
	size_t n;
};

static void sources_release(struct sources *s)
{
	for (size_t i = 0; i < s->n; i++) {
		secret_buf_release(&s->text[i]);
		free(s->name[i]);
	}
}

static int add_source(struct sources *s, const char *path, struct error *err)
{
	if (s->n == KUBECONFIG_FILES_MAX)
		return error_set(err, E2BIG, "KUBECONFIG names more than %d files; merge some", KUBECONFIG_FILES_MAX);
	CLEANUP_FREE
	char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0);
	if (path[0] != '/' && folder == NULL)
		return error_set(err, errno, "can't tell where %s is: %s; name it from the root on", path, strerror(errno));
	s->name[s->n] = folder != NULL ? xasprintf("%s/%s", folder, path) : xstrdup(path);
	s->text[s->n] = kube_text_buf(&(struct kube_text){.file = s->name[s->n]}, KUBE_CONFIG_FILE_MAX);
	s->n++;
	return file_read_regular(s->name[s->n - 1], &s->text[s->n - 1], err);
}

static void drop_last(struct sources *s)
{
	s->n--;
	secret_buf_release(&s->text[s->n]);
	free(s->name[s->n]);
}

// Those of the list that aren't there are left out, but not all of them.
static int add_listed(struct sources *s, const char *list, struct error *err)
{
	for (const char *p = list; *p != '\0';) {
		size_t n = strcspn(p, ":");
		CLEANUP_FREE
		char *path = xstrndup((struct str){p, n});
		p += n + (p[n] == ':');
		if (n == 0)
			continue;
		int rc = add_source(s, path, err);
		if (rc == -ENOENT)
			drop_last(s);
		else if (rc < 0)
			return error_prefix(err, "KUBECONFIG");
	}
	if (s->n == 0)
		return error_set(err, ENOENT, "KUBECONFIG is \"%s\", but no such file is there; correct it or unset it", list);
	return 0;
}

// Said at the start rather than by every request. They are read again when they are used.
static int check_file(const struct kube_config *c, const struct kube_text *t, const char *what, struct error *err)
{
	if (t->file == NULL || access(t->file, R_OK) == 0)
		return 0;
	return error_set(err, errno, "%s: can't read the %s %s: %s", c->origin, what, t->file, strerror(errno));
}

static int check_files(const struct kube_config *c, struct error *err)
{
	if (check_file(c, &c->ca, "certificate-authority", err) < 0 ||
		check_file(c, &c->client_cert, "client-certificate", err) < 0 ||
		check_file(c, &c->client_key, "client-key", err) < 0)
		return -err->code;
	return c->token.data != NULL ? 0 : check_file(c, &c->token, "tokenFile", err);
}

static struct kube_config *parse_sources(const struct sources *s, const char *context, struct error *err)
{
	const char *texts[KUBECONFIG_FILES_MAX];
	const char *names[KUBECONFIG_FILES_MAX];
	for (size_t i = 0; i < s->n; i++) {
		texts[i] = buf_z(&s->text[i]);
		names[i] = s->name[i];
		if (strlen(texts[i]) != s->text[i].n) {
			(void)error_set(err, EINVAL, "%s holds a NUL byte, so it is no kubeconfig", names[i]);
			return NULL;
		}
	}
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = kube_config_parse(texts, names, s->n, context, err);
	if (c == NULL || check_files(c, err) < 0)
		return NULL;
	return TAKE_PTR(c);
}

// ---- In a pod

static int set_pods_server(struct kube_config *c, struct error *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	struct server_url u;
	if (host == NULL || host[0] == '\0' || port == NULL || port[0] == '\0')
		return error_set(err, ENOENT,
						 "this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; "
						 "name a kubeconfig file");
	bool bracket = strchr(host, ':') != NULL;
	CLEANUP_FREE
	char *url = xasprintf("https://%s%s%s:%s", bracket ? "[" : "", host, bracket ? "]" : "", port);
	if (server_url_parse(url, "the address of KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT", &u, err) < 0)
		return -err->code;
	if (u.path[0] != '\0')
		return error_set(err, EINVAL, "KUBERNETES_SERVICE_PORT is \"%s\", which is no port", port);
	kube_config_set_server(c, &u);
	return 0;
}

static int set_pods_namespace(struct kube_config *c, const char *path, struct error *err)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(NAMESPACE_MAX);
	int rc = file_read_regular(path, &text, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	const char *name = buf_z(&text);
	size_t n = strcspn(name, " \t\r\n");
	c->ns = n > 0 ? xstrndup((struct str){name, n}) : xstrdup("default");
	return is_object_name(c->ns) ? 0
								 : error_set(err, EINVAL, "%s holds \"%s\", which is no namespace's name", path, c->ns);
}

struct kube_config *kube_config_in_cluster(const char *folder, struct error *err)
{
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = xcalloc(1, sizeof(*c));
	CLEANUP_FREE
	char *ns = xasprintf("%s/namespace", folder);
	c->origin = xstrdup("the pod's service account");
	c->token.file = xasprintf("%s/token", folder);
	c->ca.file = xasprintf("%s/ca.crt", folder);
	if (set_pods_server(c, err) < 0 || set_pods_namespace(c, ns, err) < 0)
		return NULL;
	if (check_files(c, err) < 0) {
		(void)error_prefix(err,
						   "in a pod without its service account's files (set automountServiceAccountToken, or name "
						   "a kubeconfig file)");
		return NULL;
	}
	return TAKE_PTR(c);
}

// ---- Where to look

static bool is_in_pod(void)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	return host != NULL && host[0] != '\0';
}

// Where a pod has both, as CI jobs do whose service account isn't mounted, the home's file is the way out.
static struct kube_config *load_home(const char *context, const struct error *pod, struct error *err)
{
	const char *home = getenv("HOME");
	CLEANUP_FREE
	char *path = xasprintf("%s/.kube/config", home != NULL ? home : "");
	CLEANUP(sources_release) struct sources s = {0};
	int rc = home != NULL && home[0] != '\0' ? add_source(&s, path, err) : -ENOENT;
	if (rc == -ENOENT && pod != NULL)
		*err = *pod;
	else if (rc == -ENOENT)
		(void)error_set(err, ENOENT,
						"no API server is known: KUBECONFIG is not set%s, and there is no %s; "
						"name a kubeconfig file",
						context != NULL ? "" : ", this is no pod", path);
	return rc == 0 ? parse_sources(&s, context, err) : NULL;
}

struct kube_config *kube_config_load(const char *file, const char *context, struct error *err)
{
	CLEANUP(sources_release) struct sources s = {0};
	const char *listed = getenv("KUBECONFIG");
	if (file != NULL)
		return add_source(&s, file, err) == 0 ? parse_sources(&s, context, err) : NULL;
	if (listed != NULL && listed[0] != '\0')
		return add_listed(&s, listed, err) == 0 ? parse_sources(&s, context, err) : NULL;
	if (context != NULL || !is_in_pod())
		return load_home(context, NULL, err);
	struct error pod;
	struct kube_config *c = kube_config_in_cluster(KUBE_SERVICE_ACCOUNT_FOLDER, &pod);
	return c != NULL ? c : load_home(context, &pod, err);
}
