"""Becomes a program of an unpacked image: launch.py ROOT USER_ID PROGRAM [ARGUMENT...], in a mount namespace of its own.

The image has no setpriv, so it is this that gives up root's rights after it went into the root. USER_ID 0 is for a user
namespace, which has only that one. Fails unless the root is read-only.
"""

import ctypes
import errno
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

root, user_id, *argv = sys.argv[1:]
parent = os.getppid()
libc = ctypes.CDLL(None)
os.chroot(root)
os.chdir("/")
try:
    os.mkdir("/written")
    sys.exit("the root can be written to")
except OSError as error:
    if error.errno != errno.EROFS:
        raise
if int(user_id):
    os.setgroups([])
    os.setgid(int(user_id))
    os.setuid(int(user_id))
libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # forgotten when the user changes, so it comes last
if os.getppid() != parent:
    sys.exit("the test ended")
os.execve(argv[0], argv, dict(os.environ))
