#include "common/kube/server_url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "common/str.h"

#define PORT_MAX 65535
#define LETTERS_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
// Of RFC 3986 what may stand in a path as it is, with '%' of its escapes.
#define PATH_CHARS LETTERS_DIGITS "-._~!$&'()*+,;=:@/%"

#define WANTED "write it as https://HOST[:PORT]"

static bool skip_scheme(const char **p, const char *scheme)
{
	size_t n = strlen(scheme);
	if (strncasecmp(*p, scheme, n) != 0)
		return false;
	*p += n;
	return true;
}

// Where the host ends and the port or the path begins; 0 where there is no host that we take.
static size_t read_host(const char *p, char host[SERVER_HOST_MAX + 1])
{
	unsigned char address[sizeof(struct in6_addr)];
	bool bracket = *p == '[';
	size_t n = strspn(p + bracket, bracket ? "0123456789abcdefABCDEF:." : LETTERS_DIGITS "-._");
	if (n == 0 || n > SERVER_HOST_MAX || (bracket && p[1 + n] != ']'))
		return 0;
	memcpy(host, p + bracket, n);
	host[n] = '\0';
	if (bracket && inet_pton(AF_INET6, host, address) != 1)
		return 0;
	return bracket ? n + 2 : n;
}

static bool read_port(const char **p, int *ret)
{
	size_t n = strspn(*p, "0123456789");
	int port = 0;
	for (size_t i = 0; i < n && port <= PORT_MAX; i++)
		port = port * 10 + ((*p)[i] - '0');
	*p += n;
	*ret = port;
	return n > 0 && port > 0 && port <= PORT_MAX;
}

static bool has_user(const char *rest, bool scheme)
{
	return memchr(rest, '@', scheme ? strcspn(rest, "/?#") : strlen(rest)) != NULL;
}

int server_url_parse(const char *text, const char *what, struct server_url *ret, struct error *err)
{
	struct server_url u = {.port = 443, .tls = true};
	const char *p = text;
	if (strlen(text) >= SERVER_URL_MAX)
		return error_set(err, EINVAL, "%s has %zu bytes, of which at most %d are read; " WANTED, what, strlen(text),
						 SERVER_URL_MAX - 1);
	bool scheme = skip_scheme(&p, "https://");
	if (!scheme && skip_scheme(&p, "http://")) {
		scheme = true;
		u.tls = false;
		u.port = 80;
	}
	// Not shown: what stands before the '@' may be a password.
	if (has_user(p, scheme))
		return error_set(err, EINVAL, "%s has a user in it; " WANTED ", and put credentials under users:", what);
	if (!scheme)
		return error_set(err, EINVAL, "%s is \"%s\", which is no https:// address; " WANTED, what, text);
	size_t host = read_host(p, u.host);
	if (host == 0)
		return error_set(err, EINVAL,
						 "%s is \"%s\", whose host is neither a name nor an address; " WANTED ", IPv6 in brackets",
						 what, text);
	p += host;
	u.port_given = *p == ':';
	if (u.port_given) {
		p++;
		if (!read_port(&p, &u.port))
			return error_set(err, EINVAL, "%s is \"%s\", whose port is not a number from 1 to %d", what, text,
							 PORT_MAX);
	}
	size_t n = strlen(p);
	if ((n > 0 && *p != '/') || strspn(p, PATH_CHARS) != n)
		return error_set(err, EINVAL, "%s is \"%s\", with more than a path after the host; " WANTED "[/PREFIX]", what,
						 text);
	while (n > 0 && p[n - 1] == '/')
		n--;
	memcpy(u.path, p, n);
	*ret = u;
	return 0;
}

char *server_url_text(const struct server_url *u)
{
	const char *scheme = u->tls ? "https" : "http";
	bool bracket = strchr(u->host, ':') != NULL;
	const char *open = bracket ? "[" : "";
	const char *close = bracket ? "]" : "";
	if (!u->port_given)
		return xasprintf("%s://%s%s%s%s", scheme, open, u->host, close, u->path);
	return xasprintf("%s://%s%s%s:%d%s", scheme, open, u->host, close, u->port, u->path);
}
