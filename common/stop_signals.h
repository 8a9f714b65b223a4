// How a server is asked to stop: SIGTERM or SIGINT, as something that its main loop can wait for.
#ifndef COCO_COMMON_STOP_SIGNALS_H
#define COCO_COMMON_STOP_SIGNALS_H

#include <stdbool.h>

#include "common/error.h"

// Blocks the signals for this thread and those that it starts, and ignores SIGPIPE and SIGHUP. A file descriptor, or -errno.
int stop_signals_open(struct error *err) __attribute__((warn_unused_result, nonnull));
// Waits until a signal comes, other_fd is readable (-1 for none) or the time is over. Whether to stop; a second call waits
// for the next signal.
bool stop_signals_wait(int signals, int other_fd, int timeout_ms);

#endif
