// A listening TCP socket from an address in an option.
#ifndef COCO_COMMON_LISTEN_SOCKET_H
#define COCO_COMMON_LISTEN_SOCKET_H

#include <stdint.h>

#include "common/error.h"

// address: ADDRESS:PORT, [IPV6]:PORT, or :PORT for all addresses (IPv6 and IPv4, or IPv4 alone where the kernel has no
// IPv6). Numbers only: names aren't looked up. Port 0 picks a free one.
// ret_fd: new; not blocking, closed on exec, with the longest queue that the system allows.
int listen_socket_open(const char *address, int *ret_fd, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// The port in use; 0 when fd is no socket of this kind.
uint16_t listen_socket_port(int fd);

#endif
