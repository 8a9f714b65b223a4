#include <errno.h>

#include "cases.h"
#include "common/kube/config.h"
#include "common/kube/server_url.h"
#include "folder.h"

// ---- Addresses

struct url_case {
	const char *name;
	const char *text;
	const char *canonical;
	const char *host;
	int port;
	const char *path;
	bool http;
};

static struct url_case url_cases[] = {
	{"url: a name", "https://api.example.com", "https://api.example.com", "api.example.com", 443, "", false},
	{"url: a port", "https://a:6443", "https://a:6443", "a", 6443, "", false},
	{"url: the default port, said", "https://a:443/", "https://a:443", "a", 443, "", false},
	{"url: http", "http://127.0.0.1:8001", "http://127.0.0.1:8001", "127.0.0.1", 8001, "", true},
	{"url: http without a port", "http://localhost", "http://localhost", "localhost", 80, "", true},
	{"url: capitals in the scheme", "HTTPS://a", "https://a", "a", 443, "", false},
	{"url: IPv6", "https://[fd00::1]:6443", "https://[fd00::1]:6443", "fd00::1", 6443, "", false},
	{"url: IPv6 without a port", "https://[::1]", "https://[::1]", "::1", 443, "", false},
	{"url: IPv6 with IPv4 in it", "https://[::ffff:10.0.0.1]/x", "https://[::ffff:10.0.0.1]/x", "::ffff:10.0.0.1", 443,
	 "/x", false},
	{"url: a prefix", "https://a/k8s/clusters/c-1", "https://a/k8s/clusters/c-1", "a", 443, "/k8s/clusters/c-1", false},
	{"url: slashes at the end", "https://a:1/b///", "https://a:1/b", "a", 1, "/b", false},
	{"url: the highest port", "https://a:65535", "https://a:65535", "a", 65535, "", false},
	{"url: an '@' in the path", "https://a/b@c%20d", "https://a/b@c%20d", "a", 443, "/b@c%20d", false},
};

static void test_url(void **state)
{
	const struct url_case *c = *state;
	struct server_url u;
	struct error err = {0};
	assert_int_equal(server_url_parse(c->text, "it", &u, &err), 0);
	CLEANUP_FREE
	char *text = server_url_text(&u);
	assert_string_equal(text, c->canonical);
	assert_string_equal(u.host, c->host);
	assert_int_equal(u.port, c->port);
	assert_string_equal(u.path, c->path);
	assert_int_equal(u.tls, !c->http);
}

struct bad_url_case {
	const char *name;
	const char *text;
	const char *message;
};

#define WANTED "write it as https://HOST[:PORT]"

static struct bad_url_case bad_url_cases[] = {
	{"bad url: ", "", "no https:// address"},
	{"bad url: api.example.com:6443", "api.example.com:6443",
	 "it is \"api.example.com:6443\", which is no https:// address; " WANTED},
	{"bad url: ftp://a", "ftp://a", "no https:// address"},
	{"bad url: https:/a", "https:/a", "no https:// address"},
	{"bad url: https://", "https://", "neither a name nor an address"},
	{"bad url: https:///path", "https:///path", "neither a name nor an address"},
	{"bad url: https://:6443", "https://:6443", "neither a name nor an address"},
	{"bad url: https://[::1", "https://[::1", "neither a name nor an address"},
	{"bad url: https://[::1:6443", "https://[::1:6443", "neither a name nor an address"},
	{"bad url: https://[1.2.3.4]", "https://[1.2.3.4]", "neither a name nor an address"},
	{"bad url: https://[fe80::1%25eth0]", "https://[fe80::1%25eth0]", "neither a name nor an address"},
	{"bad url: https://[]", "https://[]", "neither a name nor an address"},
	{"bad url: https://::1", "https://::1", "neither a name nor an address"},
	{"bad url: https://a:", "https://a:", "port"},
	{"bad url: https://a:0", "https://a:0", "port"},
	{"bad url: https://a:65536", "https://a:65536", "port"},
	{"bad url: https://a:99999999999999999999", "https://a:99999999999999999999", "port"},
	{"bad url: https://a:6443x", "https://a:6443x", "more than a path"},
	{"bad url: https://a:-1", "https://a:-1", "port"},
	{"bad url: https://a b", "https://a b", "more than a path"},
	{"bad url: https://a/b?c", "https://a/b?c", "more than a path"},
	{"bad url: https://a?c", "https://a?c", "more than a path"},
	{"bad url: https://a/#c", "https://a/#c", "more than a path"},
	{"bad url: https://a/b c", "https://a/b c", "more than a path"},
	{"bad url: https://a/b and a line X-Evil: 1", "https://a/b\r\nX-Evil: 1", "more than a path"},
	{"bad url: https://a/DEL", "https://a/\x7F", "more than a path"},
	{"bad url: https://a letter beyond ASCII", "https://\xC3\xA4", "neither a name nor an address"},
};

static void test_bad_url(void **state)
{
	const struct bad_url_case *c = *state;
	struct server_url u;
	struct error err = {0};
	assert_int_equal(server_url_parse(c->text, "it", &u, &err), -EINVAL);
	if (strstr(err.msg, c->message) == NULL)
		fail_msg("%s: %s", c->name, err.msg);
}

// A password in the address is refused, and not shown.
static void test_url_user(void **state)
{
	(void)state;
	static const char *const texts[] = {"https://me:hunter2@a", "me:hunter2@a", "ftp://me:hunter2@a",
										"https://hunter2@[::1]:1/x"};
	struct server_url u;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct error err = {0};
		assert_int_equal(server_url_parse(texts[i], "it", &u, &err), -EINVAL);
		assert_string_equal(err.msg, "it has a user in it; " WANTED ", and put credentials under users:");
	}
}

static void test_url_long(void **state)
{
	(void)state;
	struct server_url u;
	struct error err = {0};
	char text[SERVER_URL_MAX + 1];
	(void)memset(text, 'a', sizeof(text));
	text[SERVER_URL_MAX] = '\0';
	memcpy(text, "https://", 8);
	assert_int_equal(server_url_parse(text, "it", &u, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "2048 bytes, of which at most 2047"));
	text[8 + SERVER_HOST_MAX + 1] = '\0';
	assert_int_equal(server_url_parse(text, "it", &u, &err), -EINVAL);
	text[8 + SERVER_HOST_MAX] = '\0';
	assert_int_equal(server_url_parse(text, "it", &u, &err), 0);
	assert_int_equal(strlen(u.host), SERVER_HOST_MAX);
}

// ---- One file

static struct kube_config *parse(const char *text, const char *context, struct error *err)
{
	const char *names[] = {"/etc/k/config"};
	return kube_config_parse(&text, names, 1, context, err);
}

#define CONTEXT "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
#define CLUSTER "clusters: [{name: c, cluster: {server: 'https://a:6443'}}]\n"
#define USER(fields) CONTEXT CLUSTER "users: [{name: u, user: {" fields "}}]\n"
#define SERVED(fields)                                                                                                \
	CONTEXT "users: [{name: u, user: {token: hunter2}}]\nclusters: [{name: c, cluster: {server: 'https://a', " fields \
			"}}]\n"
#define EXEC(fields) USER("exec: {apiVersion: client.authentication.k8s.io/v1, command: p, " fields "}")

static void test_minimal(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = parse("apiVersion: v1\nkind: Config\n" USER(""), NULL, &err);
	assert_non_null(c);
	assert_string_equal(c->origin, "/etc/k/config, context x");
	assert_string_equal(c->server, "https://a:6443");
	assert_string_equal(c->host, "a");
	assert_int_equal(c->port, 6443);
	assert_string_equal(c->path, "");
	assert_string_equal(c->ns, "default");
	assert_true(c->tls);
	assert_false(c->insecure);
	assert_null(c->tls_server_name);
	assert_null(c->proxy_url);
	assert_null(c->exec);
	assert_true(c->ca.data == NULL && c->ca.file == NULL && c->token.data == NULL && c->token.file == NULL);
}

static const char full[] =
	"{\"current-context\": \"x\", \"preferences\": {}, \"unknown\": [1],"
	"\"contexts\": [{\"name\": \"x\", \"context\": {\"cluster\": \"c\", \"user\": \"u\", \"namespace\": \"team-a\"}}],"
	"\"clusters\": [{\"name\": \"c\", \"cluster\": {\"server\": \"https://a/p/\", \"tls-server-name\": \"b\","
	"  \"proxy-url\": \"socks5://p:1080\", \"certificate-authority\": \"ca.crt\", \"more\": 1}}],"
	"\"users\": [{\"name\": \"u\", \"user\": {\"token\": \"t0ken\", \"tokenFile\": \"../t\","
	"  \"client-certificate\": \"/abs/cert\", \"client-certificate-data\": \"Y2\\nVy\\r\\ndA==\","
	"  \"client-key\": \"pki/key\", \"client-key-data\": null}}]}";

static void test_full(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = parse(full, NULL, &err);
	assert_non_null(c);
	assert_string_equal(c->server, "https://a/p");
	assert_string_equal(c->path, "/p");
	assert_string_equal(c->ns, "team-a");
	assert_string_equal(c->tls_server_name, "b");
	assert_string_equal(c->proxy_url, "socks5://p:1080");
	assert_string_equal(c->ca.file, "/etc/k/ca.crt");
	assert_string_equal(c->token.data, "t0ken");
	assert_string_equal(c->token.file, "/etc/k/../t");
	assert_string_equal(c->client_cert.data, "cert"); // inline wins
	assert_null(c->client_cert.file);
	assert_string_equal(c->client_key.file, "/etc/k/pki/key");
}

static void test_http(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = parse(CONTEXT "clusters: [{name: c, cluster: {server: 'http://a'}}]\n"
										  "users: [{name: u, user: {token: t, client-key: k, client-certificate: c}}]",
								  NULL, &err);
	assert_non_null(c);
	assert_false(c->tls);
	assert_true(c->token.data == NULL && c->client_cert.file == NULL && c->client_key.file == NULL);
}

static void test_no_user(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c =
		parse("contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n" CLUSTER, NULL, &err);
	assert_non_null(c);
	assert_null(c->token.data);
}

static void test_context(void **state)
{
	(void)state;
	struct error err = {0};
	const char *text = "contexts: [{name: x, context: {cluster: c}}, {name: z, context: {cluster: c, namespace: m}}]\n"
					   "current-context: x\n" CLUSTER;
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = parse(text, "z", &err);
	assert_non_null(c);
	assert_string_equal(c->ns, "m");
	assert_null(parse(text, "q", &err));
	assert_string_equal(err.msg, "/etc/k/config: there is no context \"q\"; there are: x, z");
	assert_int_equal(err.code, ENOENT);
}

static void test_exec(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c =
		parse("clusters: [{name: c, cluster: {server: 'https://a', extensions: [{name: other, extension: 1}, "
			  "{name: client.authentication.k8s.io/exec, extension: {audience: b}}]}}]\n" CONTEXT
			  "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: bin/p, "
			  "args: [-x, 'y z'], env: [{name: A, value: b}, {name: C, value: ''}], interactiveMode: IfAvailable, "
			  "installHint: get it, provideClusterInfo: true}}}]",
			  NULL, &err);
	assert_string_equal(err.msg, "");
	assert_non_null(c);
	assert_non_null(c->exec);
	assert_string_equal(c->exec->api_version, "client.authentication.k8s.io/v1beta1");
	assert_string_equal(c->exec->command, "/etc/k/bin/p");
	assert_string_equal(c->exec->args[0], "-x");
	assert_string_equal(c->exec->args[1], "y z");
	assert_null(c->exec->args[2]);
	assert_string_equal(c->exec->env[0], "A=b");
	assert_string_equal(c->exec->env[1], "C=");
	assert_null(c->exec->env[2]);
	assert_string_equal(c->exec->install_hint, "get it");
	assert_true(c->exec->provide_cluster_info);
	assert_string_equal(c->exec->cluster_config, "{\"audience\":\"b\"}");
}

static void test_exec_minimal(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = parse(EXEC("args: null"), NULL, &err);
	assert_non_null(c);
	assert_string_equal(c->exec->command, "p");
	assert_null(c->exec->args[0]);
	assert_null(c->exec->env[0]);
	assert_null(c->exec->cluster_config);
	CLEANUP_KUBE_CONFIG
	struct kube_config *token =
		parse(USER("token: t, exec: {apiVersion: client.authentication.k8s.io/v1, command: p}"), NULL, &err);
	assert_non_null(token);
	assert_null(token->exec);
}

struct bad_case {
	const char *name;
	const char *text;
	const char *message; // a part of it
};

#define IN_USER "/etc/k/config, user \"u\": "
#define IN_CLUSTER "/etc/k/config, cluster \"c\": "

static struct bad_case bad_cases[] = {
	{"bad: nothing", "", "/etc/k/config: no current-context is set; set it, or name one of those there are: none"},
	{"bad: no YAML", "a: [", "/etc/k/config: line 2"},
	{"bad: a key twice", "current-context: a\ncurrent-context: b\n", "/etc/k/config: line 2"},
	{"bad: two documents", CLUSTER "---\n" CLUSTER, "/etc/k/config has 2 documents; a kubeconfig is one"},
	{"bad: a list", "[]", "/etc/k/config is no kubeconfig: it must be an object"},
	{"bad: a pod", "apiVersion: v1\nkind: Pod\n", "/etc/k/config is no kubeconfig: its kind is \"Pod\", not Config"},
	{"bad: another version", "apiVersion: v2\n", "its apiVersion is \"v2\", not v1"},
	{"bad: a number for a version", "apiVersion: 1\n", "its apiVersion is \"(no string)\", not v1"},
	{"bad: no current-context", "contexts: [{name: a}, {name: b}]",
	 "no current-context is set; set it, or name one of "
	 "those there are: a, b"},
	{"bad: a current-context that isn't there", "current-context: q\n" CLUSTER, "there is no context \"q\""},
	{"bad: a current-context that is no string", "current-context: 7\n", "current-context must be a string"},
	{"bad: contexts is an object", "contexts: {a: b}",
	 "/etc/k/config: contexts must be a list of {name: NAME, context"},
	{"bad: users without a name", "users: [{user: {}}]", "/etc/k/config: users[0] has no name"},
	{"bad: clusters of strings", "clusters: [a]", "/etc/k/config: clusters[0] has no name"},
	{"bad: a cluster twice", "clusters: [{name: a}, {name: a}]", "/etc/k/config: clusters has \"a\" twice"},
	{"bad: a user that is a string", "users: [{name: a, user: b}]", "/etc/k/config: users[0].user must be an object"},
	{"bad: no cluster", "current-context: x\ncontexts: [{name: x}]",
	 "/etc/k/config, context \"x\": cluster is missing"},
	{"bad: a cluster that isn't there", CONTEXT, "/etc/k/config, context \"x\": there is no cluster \"c\""},
	{"bad: a user that isn't there", CONTEXT CLUSTER, "/etc/k/config, context \"x\": there is no user \"u\""},
	{"bad: a namespace", "current-context: x\ncontexts: [{name: x, context: {cluster: c, namespace: A_B}}]\n" CLUSTER,
	 "/etc/k/config, context \"x\": namespace is \"A_B\", which is no namespace's name"},
	{"bad: no server", CONTEXT "clusters: [{name: c, cluster: {}}]", IN_CLUSTER "server is missing"},
	{"bad: a cluster without content", CONTEXT "clusters: [{name: c}]", IN_CLUSTER "server is missing"},
	{"bad: a server that is a number", CONTEXT "clusters: [{name: c, cluster: {server: 5}}]",
	 IN_CLUSTER "server must be a string (put it in quotes)"},
	{"bad: a server without https", CONTEXT "clusters: [{name: c, cluster: {server: 'a:6443'}}]",
	 IN_CLUSTER "server is \"a:6443\", which is no https:// address; " WANTED},
	{"bad: insecure with a CA", SERVED("certificate-authority: f, insecure-skip-tls-verify: true"),
	 IN_CLUSTER "insecure-skip-tls-verify is set beside a certificate-authority; remove one"},
	{"bad: insecure with a CA inline", SERVED("certificate-authority-data: eA==, insecure-skip-tls-verify: true"),
	 IN_CLUSTER "insecure-skip-tls-verify is set beside"},
	{"bad: insecure as text", SERVED("insecure-skip-tls-verify: 'true'"),
	 IN_CLUSTER "insecure-skip-tls-verify must be true or false"},
	{"bad: CA data", SERVED("certificate-authority-data: 'e%=='"),
	 IN_CLUSTER "certificate-authority-data: base64: byte 2"},
	{"bad: CA data without padding", SERVED("certificate-authority-data: eA"),
	 IN_CLUSTER "certificate-authority-data: base64"},
	{"bad: CA data with a NUL byte", SERVED("certificate-authority-data: AAAA"), "holds a NUL byte"},
	{"bad: a proxy", SERVED("proxy-url: 'ftp://me:hunter2@p'"), IN_CLUSTER "proxy-url is no proxy's address"},
	{"bad: a proxy with a newline", SERVED("proxy-url: \"http://hunter2\\n\""),
	 IN_CLUSTER "proxy-url is no proxy's address"},
	{"bad: a proxy without a host", SERVED("proxy-url: 'http://'"), IN_CLUSTER "proxy-url is no proxy's address"},
	{"bad: user name", USER("username: me"), IN_USER "username is for basic authentication"},
	{"bad: password", USER("password: hunter2"), IN_USER "password is for basic authentication"},
	{"bad: auth-provider", USER("auth-provider: {name: gcp}"), IN_USER "auth-provider was replaced by exec plugins"},
	{"bad: as", USER("as: root"), IN_USER "as asks for impersonation"},
	{"bad: as-groups", USER("as-groups: [system:masters]"), IN_USER "as-groups asks for impersonation"},
	{"bad: as-uid", USER("as-uid: '0'"), IN_USER "as-uid asks for impersonation"},
	{"bad: as-user-extra", USER("as-user-extra: {a: [b]}"), IN_USER "as-user-extra asks for impersonation"},
	{"bad: a token that is a number", USER("token: 12345"), IN_USER "token must be a string"},
	{"bad: a certificate without its key", USER("client-certificate: c"), IN_USER "client-key is missing"},
	{"bad: a key without its certificate", USER("client-key-data: aHVudGVyMg=="),
	 IN_USER "client-certificate is missing"},
	{"bad: exec is a string", USER("exec: p"), IN_USER "exec must be an object"},
	{"bad: exec without a command", USER("exec: {apiVersion: client.authentication.k8s.io/v1}"),
	 IN_USER "exec.command is missing"},
	{"bad: exec without a version", USER("exec: {command: p}"), IN_USER "exec.apiVersion must be client.auth"},
	{"bad: exec of an old version", USER("exec: {command: p, apiVersion: client.authentication.k8s.io/v1alpha1}"),
	 IN_USER "exec.apiVersion must be client.authentication.k8s.io/v1 or"},
	{"bad: exec wants a terminal", EXEC("interactiveMode: Always"), IN_USER "exec.interactiveMode is Always, but"},
	{"bad: exec of another mode", EXEC("interactiveMode: always"), IN_USER "exec.interactiveMode must be Never or"},
	{"bad: exec with a number", EXEC("args: [1]"), IN_USER "exec.args must be a list of strings"},
	{"bad: exec with one argument", EXEC("args: hunter2"), IN_USER "exec.args must be a list of strings"},
	{"bad: exec's environment", EXEC("env: {A: hunter2}"), IN_USER "exec.env must be a list of {name: NAME"},
	{"bad: exec's environment without a name", EXEC("env: [{value: hunter2}]"), IN_USER "exec.env must be a list"},
	{"bad: exec's environment with a number", EXEC("env: [{name: a, value: 1}]"), IN_USER "exec.env must be a list"},
	{"bad: exec's environment with '='", EXEC("env: [{name: a=hunter2, value: c}]"), IN_USER "exec.env must be a list"},
};

static void test_bad(void **state)
{
	const struct bad_case *c = *state;
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *got = parse(c->text, NULL, &err);
	assert_null(got);
	if (strstr(err.msg, c->message) == NULL)
		fail_msg("%s", err.msg);
	// What was a secret in these texts is never shown.
	assert_null(strstr(err.msg, "hunter2"));
}

// ---- Several files

static void test_merge(void **state)
{
	(void)state;
	struct error err = {0};
	const char *texts[] = {
		"users: [{name: u, user: {token: first}}]\ncurrent-context: ''\n",
		"",
		"clusters: [{name: c, cluster: {server: 'https://second', certificate-authority: ca}}]\ncurrent-context: x\n",
		"clusters: [{name: c, cluster: {server: 'https://third', tls-server-name: t}}]\ncurrent-context: z\n"
		"users: [{name: u, user: {token: last, tokenFile: f}}]\n"
		"contexts: [{name: x, context: {cluster: c, user: u}}, {name: z}]\n",
	};
	const char *names[] = {"/1/a", "/2/b", "/3/c", "/4/d"};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = kube_config_parse(texts, names, COUNT(texts), NULL, &err);
	assert_string_equal(err.msg, "");
	assert_non_null(c);
	assert_string_equal(c->origin, "/4/d, context x");
	assert_string_equal(c->server, "https://second");
	assert_null(c->tls_server_name); // entries are taken whole
	assert_string_equal(c->ca.file, "/3/ca");
	assert_string_equal(c->token.data, "first");
	assert_null(c->token.file);
	assert_null(kube_config_parse(texts, names, COUNT(texts), "q", &err));
	assert_string_equal(err.msg, "/1/a:/2/b:/3/c:/4/d: there is no context \"q\"; there are: x, z");
	assert_null(kube_config_parse(texts, names, 0, NULL, &err));
}

// ---- Files, the environment and the pod

static int make_folder(void **state)
{
	return folder_make(state) + unsetenv("KUBECONFIG") + unsetenv("KUBERNETES_SERVICE_HOST") +
		   unsetenv("KUBERNETES_SERVICE_PORT") + setenv("HOME", folder, 1);
}

static struct kube_config *must_load(const char *file, const char *context)
{
	struct error err = {0};
	struct kube_config *c = kube_config_load(file, context, &err);
	if (c == NULL)
		fail_msg("%s", err.msg);
	return c;
}

static void must_fail(const char *file, const char *context, int code, const char *message)
{
	struct error err = {0};
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = kube_config_load(file, context, &err);
	assert_null(c);
	if (strstr(err.msg, message) == NULL)
		fail_msg("%s", err.msg);
	assert_int_equal(err.code, code);
}

static void test_explicit(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *path = folder_put("one", USER("tokenFile: token"));
	CLEANUP_FREE
	char *token = folder_path("token");
	CLEANUP_FREE
	char *missing = xasprintf("tokenFile %s: No such file or directory", token);
	must_fail(path, NULL, ENOENT, missing);
	folder_write("token", "t");
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = must_load(path, NULL);
	assert_string_equal(c->token.file, token);
	// Absolute, though its kubeconfig's name isn't.
	CLEANUP_KUBE_CONFIG
	struct kube_config *relative = must_load(strstr(path, "build/test_folder."), NULL);
	assert_string_equal(relative->token.file, token);
	folder_take("one");
	folder_take("token");
	must_fail(path, NULL, ENOENT, "can't open ");
	must_fail("build", NULL, EINVAL, "is not a regular file");
}

static void test_files_named(void **state)
{
	(void)state;
	static const char *const fields[] = {"certificate-authority", "client-certificate", "client-key"};
	static const char *const texts[] = {SERVED("certificate-authority: nix"),
										USER("client-certificate: nix, client-key-data: eA=="),
										USER("client-key: nix, client-certificate-data: eA==")};
	for (size_t i = 0; i < COUNT(fields); i++) {
		CLEANUP_FREE
		char *path = folder_put("one", texts[i]);
		CLEANUP_FREE
		char *want = xasprintf("one, context x: can't read the %s /", fields[i]);
		must_fail(path, NULL, ENOENT, want);
	}
	folder_take("one");
}

static void test_listed(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *one = folder_put("one", CONTEXT);
	CLEANUP_FREE
	char *two = folder_put("two", CLUSTER "users: [{name: u}]");
	CLEANUP_FREE
	char *list = xasprintf(":%s/none:%s::%s:", folder, one, two);
	assert_int_equal(setenv("KUBECONFIG", list, 1), 0);
	CLEANUP_KUBE_CONFIG
	struct kube_config *c = must_load(NULL, NULL);
	assert_string_equal(c->server, "https://a:6443");
	assert_int_equal(setenv("KUBECONFIG", "build/none", 1), 0);
	must_fail(NULL, NULL, ENOENT, "KUBECONFIG is \"build/none\", but no such file is there; correct it or unset it");
	assert_int_equal(setenv("KUBECONFIG", "build", 1), 0);
	must_fail(NULL, NULL, EINVAL, "KUBECONFIG: ");
	CLEANUP_BUF
	struct buf many = BUF_INIT(100000);
	for (int i = 0; i < 65; i++)
		buf_addf(&many, "%s:", two);
	assert_int_equal(setenv("KUBECONFIG", buf_z(&many), 1), 0);
	must_fail(NULL, NULL, E2BIG, "KUBECONFIG names more than 64 files");
	assert_int_equal(unsetenv("KUBECONFIG"), 0);
	folder_take("one");
	folder_take("two");
}

static void test_nul_byte(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *path = folder_path("one");
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite("a: b\0\n", 1, 6, f), 6);
	assert_int_equal(fclose(f), 0);
	must_fail(path, NULL, EINVAL, "one holds a NUL byte, so it is no kubeconfig");
	folder_take("one");
}

static void test_large(void **state)
{
	(void)state;
	CLEANUP_BUF
	struct buf text = BUF_INIT(KUBE_CONFIG_FILE_MAX + 1);
	buf_addz(&text, USER("token: t") "#");
	while (text.n < KUBE_CONFIG_FILE_MAX)
		buf_addc(&text, 'x');
	CLEANUP_FREE
	char *path = folder_put("one", buf_z(&text));
	kube_config_free(must_load(path, NULL));
	buf_addc(&text, 'x');
	folder_write("one", buf_z(&text));
	must_fail(path, NULL, EFBIG, "one is larger than the 4194304 bytes");
	folder_take("one");
}

static void test_home(void **state)
{
	(void)state;
	CLEANUP_FREE
	char *want = xasprintf("KUBECONFIG is not set, this is no pod, and there is no %s/.kube/config", folder);
	must_fail(NULL, NULL, ENOENT, want);
	CLEANUP_FREE
	char *sub = folder_path(".kube");
	assert_int_equal(mkdir(sub, 0700), 0);
	folder_write(".kube/config", USER("token: t"));
	kube_config_free(must_load(NULL, NULL));
	assert_int_equal(setenv("KUBECONFIG", "", 1), 0);
	assert_int_equal(setenv("KUBERNETES_SERVICE_HOST", "", 1), 0);
	kube_config_free(must_load(NULL, NULL));
	// In a pod without a service account's files; a context is for files alone.
	assert_int_equal(setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1), 0);
	assert_int_equal(setenv("KUBERNETES_SERVICE_PORT", "443", 1), 0);
	kube_config_free(must_load(NULL, NULL));
	kube_config_free(must_load(NULL, "x"));
	must_fail(NULL, "q", ENOENT, "there is no context \"q\"");
	folder_take(".kube/config");
	folder_take(".kube");
	must_fail(NULL, NULL, ENOENT,
			  "set automountServiceAccountToken, or name a kubeconfig file): the pod's service account: "
			  "can't read the certificate-authority " KUBE_SERVICE_ACCOUNT_FOLDER "/ca.crt");
	must_fail(NULL, "x", ENOENT, "no API server is known: KUBECONFIG is not set, and there is no ");
	assert_int_equal(unsetenv("KUBERNETES_SERVICE_HOST") + unsetenv("KUBERNETES_SERVICE_PORT"), 0);
	assert_int_equal(unsetenv("KUBECONFIG") + unsetenv("HOME"), 0);
	must_fail(NULL, NULL, ENOENT, "no API server is known");
}

struct pod_case {
	const char *name;
	const char *host, *port;
	const char *ns;     // the file's text; NULL: no file
	const char *server; // NULL: an error
	const char *want;   // the namespace, or a part of the message
};

static struct pod_case pod_cases[] = {
	{"pod: IPv4", "10.0.0.1", "443", "team-a\n", "https://10.0.0.1:443", "team-a"},
	{"pod: IPv6", "fd00::1", "6443", "team-a", "https://[fd00::1]:6443", "team-a"},
	{"pod: no namespace", "10.0.0.1", "443", NULL, "https://10.0.0.1:443", "default"},
	{"pod: an empty namespace", "10.0.0.1", "443", "\n", "https://10.0.0.1:443", "default"},
	{"pod: a bad namespace", "10.0.0.1", "443", "../x", NULL, "namespace holds \"../x\", which is no namespace's name"},
	{"pod: no host", NULL, "443", "a", NULL, "this is no pod: KUBERNETES_SERVICE_HOST and"},
	{"pod: an empty host", "", "443", "a", NULL, "this is no pod: KUBERNETES_SERVICE_HOST and"},
	{"pod: no port", "a", NULL, "a", NULL, "this is no pod"},
	{"pod: a bad port", "a", "x", "a", NULL, "KUBERNETES_SERVICE_PORT is \"https://a:x\""},
	{"pod: a path for a port", "a", "1/x", "a", NULL, "KUBERNETES_SERVICE_PORT is \"1/x\", which is no port"},
};

static void test_pod(void **state)
{
	const struct pod_case *c = *state;
	struct error err = {0};
	assert_int_equal(c->host != NULL ? setenv("KUBERNETES_SERVICE_HOST", c->host, 1) : 0, 0);
	assert_int_equal(c->port != NULL ? setenv("KUBERNETES_SERVICE_PORT", c->port, 1) : 0, 0);
	CLEANUP_FREE
	char *token = folder_put("token", "t");
	CLEANUP_FREE
	char *ca = folder_put("ca.crt", "x");
	if (c->ns != NULL)
		folder_write("namespace", c->ns);
	CLEANUP_KUBE_CONFIG
	struct kube_config *got = kube_config_in_cluster(folder, &err);
	assert_int_equal(unsetenv("KUBERNETES_SERVICE_HOST") + unsetenv("KUBERNETES_SERVICE_PORT"), 0);
	folder_take("token");
	folder_take("ca.crt");
	if (c->ns != NULL)
		folder_take("namespace");
	if (c->server == NULL) {
		assert_null(got);
		if (strstr(err.msg, c->want) == NULL)
			fail_msg("%s", err.msg);
		return;
	}
	assert_non_null(got);
	assert_string_equal(got->server, c->server);
	assert_string_equal(got->ns, c->want);
	assert_string_equal(got->origin, "the pod's service account");
	assert_string_equal(got->token.file, token);
	assert_string_equal(got->ca.file, ca);
	assert_null(got->token.data);
}

// ---- Texts

static void test_text(void **state)
{
	(void)state;
	struct error err = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(4);
	CLEANUP_FREE
	char *path = folder_put("f", "cd");
	char ab[] = "ab";
	struct kube_text both = {ab, path};
	struct kube_text file = {NULL, path};
	assert_int_equal(kube_text_read(&(struct kube_text){0}, &out, &err), 0);
	assert_string_equal(buf_z(&out), "");
	assert_int_equal(kube_text_read(&both, &out, &err), 0);
	assert_int_equal(kube_text_read(&file, &out, &err), 0);
	assert_string_equal(buf_z(&out), "abcd");
	assert_int_equal(kube_text_read(&both, &out, &err), -EFBIG);
	folder_take("f");
	buf_clear(&out);
	assert_int_equal(kube_text_read(&file, &out, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
}

int main(void)
{
	struct tests t = {0};
	ADD_TABLE(&t, url_cases, test_url);
	ADD_TABLE(&t, bad_url_cases, test_bad_url);
	tests_add(&t, "url: a user is refused and not shown", test_url_user, NULL);
	tests_add(&t, "url: limits", test_url_long, NULL);
	tests_add(&t, "one file: what must be there", test_minimal, NULL);
	tests_add(&t, "one file: all fields, as JSON", test_full, NULL);
	tests_add(&t, "one file: no credentials over http", test_http, NULL);
	tests_add(&t, "one file: no user", test_no_user, NULL);
	tests_add(&t, "one file: another context", test_context, NULL);
	tests_add(&t, "one file: an exec plugin", test_exec, NULL);
	tests_add(&t, "one file: an exec plugin's defaults; a token wins", test_exec_minimal, NULL);
	ADD_TABLE(&t, bad_cases, test_bad);
	tests_add(&t, "several files: the first wins", test_merge, NULL);
	tests_add(&t, "load: a file that is named", test_explicit, NULL);
	tests_add(&t, "load: files in a file", test_files_named, NULL);
	tests_add(&t, "load: $KUBECONFIG", test_listed, NULL);
	tests_add(&t, "load: a NUL byte", test_nul_byte, NULL);
	tests_add(&t, "load: the largest file", test_large, NULL);
	ADD_TABLE(&t, pod_cases, test_pod);
	tests_add(&t, "load: the home's file, and the pod", test_home, NULL);
	tests_add(&t, "texts", test_text, NULL);
	return _cmocka_run_group_tests("kube_config", t.v, t.n, make_folder, folder_remove);
}
