#include "common/stop_signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

int stop_signals_open(struct error *err)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return error_set(err, errno, "signalfd: %s; raise the limit of open files", strerror(errno));
	return fd;
}

bool stop_signals_wait(int signals, int other_fd, int timeout_ms)
{
	struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = other_fd, .events = POLLIN}};
	(void)poll(fds, 2, timeout_ms);
	struct signalfd_siginfo info;
	return read(signals, &info, sizeof(info)) == sizeof(info);
}
