#include "common/listen_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"

struct endpoint {
	char host[64]; // "": all addresses
	char port[8];
};

static void cleanup_addrinfo(struct addrinfo **ai)
{
	if (*ai != NULL)
		freeaddrinfo(*ai);
}

static int parse(const char *address, struct endpoint *ret, struct error *err)
{
	static const char REMEDY[] = "write ADDRESS:PORT, [IPV6]:PORT or :PORT";
	const char *colon = strrchr(address, ':');
	if (colon == NULL)
		return error_set(err, EINVAL, "listen address \"%s\" has no port: %s", address, REMEDY);
	struct str host = {address, (size_t)(colon - address)};
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){host.p + 1, host.n - 2};
	else if (memchr(host.p, ':', host.n) != NULL)
		return error_set(err, EINVAL, "listen address \"%s\": an IPv6 address goes in brackets: %s", address, REMEDY);
	size_t digits = strspn(colon + 1, "0123456789");
	if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || strtoul(colon + 1, NULL, 10) > UINT16_MAX)
		return error_set(err, EINVAL, "listen address \"%s\": the port must be 0 to 65535", address);
	if (host.n >= sizeof(ret->host))
		return error_set(err, EINVAL, "listen address \"%s\" is no IP address: %s", address, REMEDY);
	memcpy(ret->host, host.p, host.n);
	ret->host[host.n] = '\0';
	memcpy(ret->port, colon + 1, digits + 1);
	return 0;
}

static const char *remedy(int code)
{
	switch (code) {
	case EADDRINUSE:
		return "stop the program that has it, or choose another port";
	case EACCES:
		return "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one";
	case EADDRNOTAVAIL:
		return "this host has no such address: use one of its own, or none for all";
	case EAFNOSUPPORT:
		return "this host has no IPv6: use an IPv4 address";
	default:
		return "choose another address";
	}
}

// New; NULL when host is no IP address.
static struct addrinfo *resolve(const char *host, const char *port)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	return getaddrinfo(host, port, &hints, &found) == 0 ? found : NULL;
}

// both: IPv4 as well on an IPv6 socket.
static int bind_socket(int fd, const struct addrinfo *ai, bool both)
{
	const int on = 1;
	const int v6only = both ? 0 : 1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		return -errno;
	if (ai->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) != 0)
		return -errno;
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0)
		return -errno;
	return 0;
}

static int open_socket(const struct addrinfo *ai, bool both, int *ret_fd)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int r = bind_socket(fd, ai, both);
	if (r < 0)
		(void)close(fd);
	else
		*ret_fd = fd;
	return r;
}

int listen_socket_open(const char *address, int *ret_fd, struct error *err)
{
	struct endpoint e = {0};
	if (parse(address, &e, err) < 0)
		return -err->code;
	bool all = e.host[0] == '\0';
	struct addrinfo *ai CLEANUP(cleanup_addrinfo) = resolve(all ? "::" : e.host, e.port);
	if (ai == NULL)
		return error_set(err, EINVAL, "listen address \"%s\": \"%s\" is no IP address: names aren't looked up", address,
						 e.host);
	int r = open_socket(ai, all || strcmp(e.host, "::") == 0, ret_fd);
	if (r == -EAFNOSUPPORT && all) {
		struct addrinfo *v4 CLEANUP(cleanup_addrinfo) = resolve("0.0.0.0", e.port);
		r = v4 != NULL ? open_socket(v4, false, ret_fd) : r;
	}
	if (r < 0)
		return error_set(err, -r, "listen on %s: %s: %s", address, strerror(-r), remedy(-r));
	return 0;
}

uint16_t listen_socket_port(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = {0};
	socklen_t n = sizeof(a);
	if (getsockname(fd, &a.any, &n) != 0)
		return 0;
	switch (a.any.sa_family) {
	case AF_INET:
		return ntohs(a.v4.sin_port);
	case AF_INET6:
		return ntohs(a.v6.sin6_port);
	default:
		return 0;
	}
}
