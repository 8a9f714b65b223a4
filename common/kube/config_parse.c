// From kubeconfig texts to the one context that is used: merged, checked, resolved. No I/O.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "common/encode.h"
#include "common/kube/config_private.h"
#include "common/kube_name.h"
#include "common/mem.h"
#include "common/secret.h"
#include "common/yaml.h"

#define NAMES_SHOWN_MAX 300 // bytes of the contexts that there are, in a message
#define EXEC_EXTENSION "client.authentication.k8s.io/exec"

// ---- Files and their entries

struct file {
	const char *name;
	json_t *root; // ours; NULL for an empty one
};

struct files {
	struct file *v;
	size_t n;
};

static void files_release(struct files *f)
{
	for (size_t i = 0; i < f->n; i++)
		secret_json_free(f->v[i].root);
	free(f->v);
}

// An entry of clusters, users or contexts: {name: NAME, KIND: {...}}.
struct entry {
	const char *kind; // "cluster", "user", "context"
	const char *name;
	const char *file;
	const json_t *body; // NULL where there is none
};

static int entry_fail(const struct entry *e, const char *key, const char *what, struct error *err)
{
	return error_set(err, EINVAL, "%s, %s \"%s\": %s %s", e->file, e->kind, e->name, key, what);
}

// NULL for none, which null and "" are too.
static int entry_text(const struct entry *e, const char *key, const char **ret, struct error *err)
{
	const json_t *v = json_object_get(e->body, key);
	if (v != NULL && !json_is_null(v) && !json_is_string(v))
		return entry_fail(e, key, "must be a string (put it in quotes)", err);
	*ret = json_string_length(v) > 0 ? json_string_value(v) : NULL;
	return 0;
}

static int entry_bool(const struct entry *e, const char *key, bool *ret, struct error *err)
{
	const json_t *v = json_object_get(e->body, key);
	if (v != NULL && !json_is_null(v) && !json_is_boolean(v))
		return entry_fail(e, key, "must be true or false", err);
	*ret = json_is_true(v);
	return 0;
}

static bool is_empty(const json_t *v)
{
	return v == NULL || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
		   (json_is_array(v) && json_array_size(v) == 0) || (json_is_object(v) && json_object_size(v) == 0);
}

static char *resolve_path(const char *file, const char *path)
{
	const char *slash = strrchr(file, '/');
	if (path[0] == '/' || slash == NULL)
		return xstrdup(path);
	return xasprintf("%.*s/%s", (int)(slash - file), file, path);
}

// ---- Reading files

// Of the items of clusters, users, contexts.
static int check_section(const struct file *f, const char *section, const char *kind, struct error *err)
{
	const json_t *list = json_object_get(f->root, section);
	if (list == NULL || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return error_set(err, EINVAL, "%s: %s must be a list of {name: NAME, %s: {...}}", f->name, section, kind);
	json_auto_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(item, "name"));
		const json_t *body = json_object_get(item, kind);
		if (name == NULL)
			return error_set(err, EINVAL, "%s: %s[%zu] has no name: write {name: NAME, %s: {...}}", f->name, section, i,
							 kind);
		if (body != NULL && !json_is_null(body) && !json_is_object(body))
			return error_set(err, EINVAL, "%s: %s[%zu].%s must be an object", f->name, section, i, kind);
		if (json_object_get(seen, name) != NULL)
			return error_set(err, EINVAL, "%s: %s has \"%s\" twice; rename or remove one", f->name, section, name);
		if (json_object_set_new(seen, name, json_true()) < 0)
			return error_set(err, EINVAL, "%s: %s[%zu]: the name can't be read", f->name, section, i);
	}
	return 0;
}

static int check_word(const struct file *f, const char *key, const char *wanted, struct error *err)
{
	const json_t *v = json_object_get(f->root, key);
	const char *text = json_string_value(v);
	if (is_empty(v) || (text != NULL && strcmp(text, wanted) == 0))
		return 0;
	return error_set(err, EINVAL, "%s is no kubeconfig: its %s is \"%s\", not %s", f->name, key,
					 text != NULL ? text : "(no string)", wanted);
}

static int check_file(const struct file *f, struct error *err)
{
	const json_t *current = json_object_get(f->root, "current-context");
	if (!json_is_object(f->root))
		return error_set(err, EINVAL, "%s is no kubeconfig: it must be an object with clusters, users, contexts",
						 f->name);
	if (check_word(f, "kind", "Config", err) < 0 || check_word(f, "apiVersion", "v1", err) < 0 ||
		check_section(f, "clusters", "cluster", err) < 0 || check_section(f, "users", "user", err) < 0 ||
		check_section(f, "contexts", "context", err) < 0)
		return -err->code;
	if (!is_empty(current) && !json_is_string(current))
		return error_set(err, EINVAL, "%s: current-context must be a string (put it in quotes)", f->name);
	return 0;
}

static void docs_wipe(struct yaml_docs *docs)
{
	for (size_t i = 0; i < docs->n; i++)
		secret_json_free(docs->v[i].root);
	free(docs->v);
}

static int read_file(const char *text, struct file *f, struct error *err)
{
	CLEANUP(docs_wipe) struct yaml_docs docs = {0};
	if (yaml_read(str_from(text), &docs, err) < 0)
		return error_prefix(err, "%s", f->name);
	if (docs.n > 1)
		return error_set(err, EINVAL, "%s has %zu documents; a kubeconfig is one", f->name, docs.n);
	if (docs.n == 0)
		return 0;
	f->root = TAKE_PTR(docs.v[0].root);
	docs.n = 0;
	return check_file(f, err);
}

// ---- Merging: the first file that has it wins

static bool find_entry(const struct files *files, const char *section, const char *kind, const char *name,
					   struct entry *ret)
{
	for (size_t i = 0; i < files->n; i++) {
		const json_t *list = json_object_get(files->v[i].root, section);
		for (size_t k = 0; k < json_array_size(list); k++) {
			const json_t *item = json_array_get(list, k);
			if (strcmp(json_string_value(json_object_get(item, "name")), name) != 0)
				continue;
			*ret = (struct entry){kind, name, files->v[i].name, json_object_get(item, kind)};
			return true;
		}
	}
	return false;
}

static const char *current_context(const struct files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		const json_t *v = json_object_get(files->v[i].root, "current-context");
		if (!is_empty(v))
			return json_string_value(v);
	}
	return NULL;
}

static void list_files(const struct files *files, struct buf *out)
{
	for (size_t i = 0; i < files->n; i++)
		buf_addf(out, "%s%s", i > 0 ? ":" : "", files->v[i].name);
}

static void list_contexts(const struct files *files, struct buf *out)
{
	for (size_t i = 0; i < files->n; i++) {
		const json_t *list = json_object_get(files->v[i].root, "contexts");
		for (size_t k = 0; k < json_array_size(list); k++)
			buf_addf(out, "%s%s", out->n > 0 ? ", " : "",
					 json_string_value(json_object_get(json_array_get(list, k), "name")));
	}
}

static int fail_context(const struct files *files, const char *context, struct error *err)
{
	CLEANUP_BUF
	struct buf names = BUF_INIT(NAMES_SHOWN_MAX);
	CLEANUP_BUF
	struct buf in = BUF_INIT(NAMES_SHOWN_MAX);
	list_contexts(files, &names);
	list_files(files, &in);
	const char *there = names.n > 0 ? buf_z(&names) : "none";
	if (context == NULL)
		return error_set(err, EINVAL, "%s: no current-context is set; set it, or name one of those there are: %s",
						 buf_z(&in), there);
	return error_set(err, ENOENT, "%s: there is no context \"%s\"; there are: %s", buf_z(&in), context, there);
}

// ---- Decoding what is used

static int decode_base64(const char *text, char **ret, struct error *err)
{
	size_t n = strlen(text);
	CLEANUP_SECRET_BUF
	struct buf plain = secret_buf(n);
	CLEANUP_SECRET_BUF
	struct buf data = secret_buf(n);
	// Newlines are no part of it, as Go's decoder sees it.
	for (size_t i = 0; i < n; i++)
		if (text[i] != '\n' && text[i] != '\r')
			buf_addc(&plain, text[i]);
	if (base64_decode(buf_str(&plain), &data, err) < 0)
		return -err->code;
	if (strlen(buf_z(&data)) != data.n)
		return error_set(err, EINVAL, "holds a NUL byte, so it is no PEM text");
	if (data.n > KUBE_PEM_MAX)
		return error_set(err, EFBIG, "has %zu bytes, of which at most %zu are read", data.n, KUBE_PEM_MAX);
	*ret = data.n > 0 ? xstrndup(buf_str(&data)) : NULL;
	return 0;
}

// KEY names a file, KEY-data is base64.
static int decode_pem(const struct entry *e, const char *key, struct kube_text *ret, struct error *err)
{
	const char *path = NULL;
	const char *data = NULL;
	CLEANUP_FREE
	char *data_key = xasprintf("%s-data", key);
	if (entry_text(e, key, &path, err) < 0 || entry_text(e, data_key, &data, err) < 0)
		return -err->code;
	if (data != NULL && decode_base64(data, &ret->data, err) < 0)
		return error_prefix(err, "%s, %s \"%s\": %s", e->file, e->kind, e->name, data_key);
	if (path != NULL && ret->data == NULL)
		ret->file = resolve_path(e->file, path);
	return 0;
}

static int decode_proxy(const struct entry *e, const char *url, struct kube_config *c, struct error *err)
{
	static const char *const schemes[] = {"http://", "https://", "socks5://"};
	if (url == NULL)
		return 0;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t n = strlen(schemes[i]);
		bool plain = strncasecmp(url, schemes[i], n) == 0 && url[n] != '\0';
		for (const char *p = url; plain && *p != '\0'; p++)
			plain = *p > ' ' && *p < 0x7F;
		if (!plain)
			continue;
		c->proxy_url = xstrdup(url);
		return 0;
	}
	// Not shown: there may be a password in it.
	return entry_fail(e, "proxy-url", "is no proxy's address; write it as http://, https:// or socks5://HOST[:PORT]",
					  err);
}

static int decode_server(const struct entry *e, struct kube_config *c, struct error *err)
{
	const char *text = NULL;
	struct server_url u;
	if (entry_text(e, "server", &text, err) < 0)
		return -err->code;
	if (text == NULL)
		return entry_fail(e, "server", "is missing; write it as https://HOST[:PORT]", err);
	CLEANUP_FREE
	char *what = xasprintf("%s, %s \"%s\": server", e->file, e->kind, e->name);
	if (server_url_parse(text, what, &u, err) < 0)
		return -err->code;
	kube_config_set_server(c, &u);
	return 0;
}

static const json_t *find_extension(const struct entry *e)
{
	const json_t *list = json_object_get(e->body, "extensions");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(item, "name"));
		if (name != NULL && strcmp(name, EXEC_EXTENSION) == 0)
			return json_object_get(item, "extension");
	}
	return NULL;
}

static int decode_cluster(const struct entry *e, struct kube_config *c, struct error *err)
{
	const char *name = NULL;
	const char *proxy = NULL;
	if (decode_server(e, c, err) < 0 || decode_pem(e, "certificate-authority", &c->ca, err) < 0 ||
		entry_bool(e, "insecure-skip-tls-verify", &c->insecure, err) < 0 ||
		entry_text(e, "tls-server-name", &name, err) < 0 || entry_text(e, "proxy-url", &proxy, err) < 0 ||
		decode_proxy(e, proxy, c, err) < 0)
		return -err->code;
	if (c->insecure && (c->ca.data != NULL || c->ca.file != NULL))
		return entry_fail(e, "insecure-skip-tls-verify", "is set beside a certificate-authority; remove one", err);
	c->tls_server_name = name != NULL ? xstrdup(name) : NULL;
	return 0;
}

static int refuse_fields(const struct entry *e, struct error *err)
{
	static const struct {
		const char *key;
		const char *why;
	} refused[] = {
		{"username", "is for basic authentication, which API servers don't have any more; use a token, a client "
					 "certificate or an exec plugin"},
		{"password", "is for basic authentication, which API servers don't have any more; use a token, a client "
					 "certificate or an exec plugin"},
		{"auth-provider", "was replaced by exec plugins; set exec"},
		{"as", "asks for impersonation, which this program doesn't do; use that user's own credentials"},
		{"as-uid", "asks for impersonation, which this program doesn't do; use that user's own credentials"},
		{"as-groups", "asks for impersonation, which this program doesn't do; use that user's own credentials"},
		{"as-user-extra", "asks for impersonation, which this program doesn't do; use that user's own credentials"},
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (!is_empty(json_object_get(e->body, refused[i].key)))
			return entry_fail(e, refused[i].key, refused[i].why, err);
	return 0;
}

static int decode_token(const struct entry *e, struct kube_config *c, struct error *err)
{
	const char *token = NULL;
	const char *file = NULL;
	if (entry_text(e, "token", &token, err) < 0 || entry_text(e, "tokenFile", &file, err) < 0)
		return -err->code;
	if (token != NULL && strlen(token) > KUBE_TOKEN_MAX)
		return entry_fail(e, "token", "is too long: at most 64 KiB can be sent", err);
	c->token.data = token != NULL ? xstrdup(token) : NULL;
	c->token.file = file != NULL ? resolve_path(e->file, file) : NULL;
	return 0;
}

static bool has_text(const struct kube_text *t)
{
	return t->data != NULL || t->file != NULL;
}

static int decode_args(const struct entry *e, struct kube_exec *x, struct error *err)
{
	const json_t *args = json_object_get(e->body, "args");
	size_t n = json_array_size(args);
	if (!is_empty(args) && !json_is_array(args))
		return entry_fail(e, "exec.args", "must be a list of strings", err);
	x->args = xcalloc(n + 1, sizeof(*x->args));
	for (size_t i = 0; i < n; i++) {
		const char *arg = json_string_value(json_array_get(args, i));
		if (arg == NULL)
			return entry_fail(e, "exec.args", "must be a list of strings (put numbers in quotes)", err);
		x->args[i] = xstrdup(arg);
	}
	return 0;
}

static int decode_env(const struct entry *e, struct kube_exec *x, struct error *err)
{
	const json_t *env = json_object_get(e->body, "env");
	size_t n = json_array_size(env);
	if (!is_empty(env) && !json_is_array(env))
		return entry_fail(e, "exec.env", "must be a list of {name: NAME, value: VALUE}", err);
	x->env = xcalloc(n + 1, sizeof(*x->env));
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(env, i);
		const char *name = json_string_value(json_object_get(item, "name"));
		const json_t *value = json_object_get(item, "value");
		if (name == NULL || name[0] == '\0' || strchr(name, '=') != NULL ||
			(!is_empty(value) && !json_is_string(value)))
			return entry_fail(e, "exec.env", "must be a list of {name: NAME, value: VALUE}, all strings", err);
		x->env[i] = xasprintf("%s=%s", name, value != NULL && json_is_string(value) ? json_string_value(value) : "");
	}
	return 0;
}

static int check_exec(const struct entry *e, const char *version, const char *command, const char *mode,
					  struct error *err)
{
	if (command == NULL)
		return entry_fail(e, "exec.command", "is missing; name the plugin's program", err);
	if (version == NULL || (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
							strcmp(version, "client.authentication.k8s.io/v1beta1") != 0))
		return entry_fail(e, "exec.apiVersion",
						  "must be client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1", err);
	if (mode != NULL && strcmp(mode, "Always") == 0)
		return entry_fail(e, "exec.interactiveMode",
						  "is Always, but this program has no terminal; use a plugin that asks nothing, or a token",
						  err);
	if (mode != NULL && strcmp(mode, "Never") != 0 && strcmp(mode, "IfAvailable") != 0)
		return entry_fail(e, "exec.interactiveMode", "must be Never or IfAvailable", err);
	return 0;
}

static int decode_exec(const struct entry *user, const struct entry *cluster, struct kube_config *c, struct error *err)
{
	const struct entry e = {user->kind, user->name, user->file, json_object_get(user->body, "exec")};
	const char *version = NULL;
	const char *command = NULL;
	const char *mode = NULL;
	const char *hint = NULL;
	if (is_empty(e.body))
		return 0;
	if (!json_is_object(e.body))
		return entry_fail(&e, "exec", "must be an object with command and apiVersion", err);
	struct kube_exec *x = c->exec = xcalloc(1, sizeof(*x));
	if (entry_text(&e, "apiVersion", &version, err) < 0 || entry_text(&e, "command", &command, err) < 0 ||
		entry_text(&e, "interactiveMode", &mode, err) < 0 || entry_text(&e, "installHint", &hint, err) < 0 ||
		entry_bool(&e, "provideClusterInfo", &x->provide_cluster_info, err) < 0 ||
		check_exec(&e, version, command, mode, err) < 0 || decode_args(&e, x, err) < 0 || decode_env(&e, x, err) < 0)
		return -err->code;
	x->api_version = xstrdup(version);
	// Without a '/' it is looked up in PATH.
	x->command = strchr(command, '/') != NULL ? resolve_path(e.file, command) : xstrdup(command);
	x->install_hint = hint != NULL ? xstrdup(hint) : NULL;
	const json_t *extension = find_extension(cluster);
	x->cluster_config = extension != NULL ? json_dumps(extension, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	return 0;
}

static int decode_user(const struct entry *e, const struct entry *cluster, struct kube_config *c, struct error *err)
{
	if (refuse_fields(e, err) < 0 || decode_pem(e, "client-certificate", &c->client_cert, err) < 0 ||
		decode_pem(e, "client-key", &c->client_key, err) < 0 || decode_token(e, c, err) < 0 ||
		decode_exec(e, cluster, c, err) < 0)
		return -err->code;
	if (has_text(&c->client_cert) && !has_text(&c->client_key))
		return entry_fail(e, "client-key", "is missing beside client-certificate; add it or client-key-data", err);
	if (has_text(&c->client_key) && !has_text(&c->client_cert))
		return entry_fail(e, "client-certificate", "is missing beside client-key; add it or client-certificate-data",
						  err);
	if (!c->tls || has_text(&c->token) || has_text(&c->client_cert))
		kube_config_drop_exec(c);
	if (!c->tls)
		kube_config_drop_credentials(c);
	return 0;
}

static int decode_namespace(const struct entry *context, struct kube_config *c, struct error *err)
{
	const char *ns = NULL;
	if (entry_text(context, "namespace", &ns, err) < 0)
		return -err->code;
	if (ns != NULL && !is_object_name(ns))
		return error_set(err, EINVAL, "%s, context \"%s\": namespace is \"%s\", which is no namespace's name",
						 context->file, context->name, ns);
	c->ns = xstrdup(ns != NULL ? ns : "default");
	return 0;
}

static int decode_context(const struct files *files, const char *wanted, struct kube_config *c, struct error *err)
{
	struct entry context;
	struct entry cluster;
	struct entry user;
	const char *cluster_name = NULL;
	const char *user_name = NULL;
	if (wanted == NULL)
		wanted = current_context(files);
	if (wanted == NULL || !find_entry(files, "contexts", "context", wanted, &context))
		return fail_context(files, wanted, err);
	if (entry_text(&context, "cluster", &cluster_name, err) < 0 || entry_text(&context, "user", &user_name, err) < 0 ||
		decode_namespace(&context, c, err) < 0)
		return -err->code;
	c->origin = xasprintf("%s, context %s", context.file, context.name);
	if (cluster_name == NULL)
		return entry_fail(&context, "cluster", "is missing; name one of clusters", err);
	if (!find_entry(files, "clusters", "cluster", cluster_name, &cluster))
		return error_set(err, ENOENT, "%s, context \"%s\": there is no cluster \"%s\"; add it to clusters",
						 context.file, context.name, cluster_name);
	if (decode_cluster(&cluster, c, err) < 0)
		return -err->code;
	if (user_name == NULL) // a proxy on this machine may say who we are
		return 0;
	if (!find_entry(files, "users", "user", user_name, &user))
		return error_set(err, ENOENT, "%s, context \"%s\": there is no user \"%s\"; add it to users", context.file,
						 context.name, user_name);
	return decode_user(&user, &cluster, c, err);
}

struct kube_config *kube_config_parse(const char *const *texts, const char *const *names, size_t n, const char *context,
									  struct error *err)
{
	CLEANUP(files_release) struct files files = {.v = xcalloc(n, sizeof(*files.v)), .n = n};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = xcalloc(1, sizeof(*c));
	for (size_t i = 0; i < n; i++) {
		files.v[i].name = names[i];
		if (read_file(texts[i], &files.v[i], err) < 0)
			return NULL;
	}
	if (decode_context(&files, context, c, err) < 0)
		return NULL;
	return TAKE_PTR(c);
}
