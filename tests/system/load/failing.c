// SPDX-License-Identifier: MIT
/*
 * Preloaded into the daemon by test_faults.py: system calls that fail when
 * the test says so. The file named by FAILING holds one slot for each, which
 * the test writes at any time; FAILING_AT_START="NAME=ERRNO" lets one fail
 * from the beginning.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ACCEPT4,
    SOCKET,
    PIPE2,
    EPOLL_CTL,
    GETRANDOM,
    CONNECT,
    SPLICE,
    EVENTFD,
    EPOLL_CREATE1,
    SIGNALFD,
    BIND,
    LISTEN,
    FCNTL,
    NETLINK, /* socket(2) for it, where address families are restricted */
    SPEECH,  /* connect(2) does not fail, but waits for the peer's end */
    HANG,    /* open(2) and stat(2) of FAILING_PATH do not fail: they wait until the test ends it */
    CALLS
};

static const char *const names[CALLS] = {
    "accept4",       "socket",   "pipe2", "epoll_ctl", "getrandom", "connect", "splice", "eventfd",
    "epoll_create1", "signalfd", "bind",  "listen",    "fcntl",     "netlink", "speech", "hang"};

struct slot {
    _Atomic int error;
    _Atomic int skip;  /* calls that succeed first */
    _Atomic int count; /* calls that fail then */
    _Atomic int failed;
};

static struct slot own_slots[CALLS];
static struct slot *slots = own_slots;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("FAILING");
    const char *at_start = getenv("FAILING_AT_START");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(own_slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        slots = map == MAP_FAILED ? own_slots : map;
        (void)close(fd);
    }
    for (int i = 0; at_start && i < CALLS; i++) {
        size_t len = strlen(names[i]);

        if (strncmp(at_start, names[i], len) == 0 && at_start[len] == '=') {
            slots[i].count = 1 << 30;
            slots[i].error = atoi(at_start + len + 1);
        }
    }
}

static bool fails(int call)
{
    struct slot *slot = &slots[call];
    int error = slot->error;

    if (error == 0 || (slot->skip > 0 && atomic_fetch_sub(&slot->skip, 1) > 0) ||
        atomic_fetch_sub(&slot->count, 1) <= 0) {
        return false;
    }
    atomic_fetch_add(&slot->failed, 1);
    errno = error;
    return true;
}

#define NEXT(call, type) ((type)dlsym(RTLD_NEXT, names[call]))

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return fails(ACCEPT4) ? -1
                          : NEXT(ACCEPT4, int (*)(int, struct sockaddr *, socklen_t *, int))(
                                fd, addr, len, flags);
}

int socket(int domain, int type, int protocol)
{
    return fails(SOCKET) || (domain == AF_NETLINK && fails(NETLINK))
               ? -1
               : NEXT(SOCKET, int (*)(int, int, int))(domain, type, protocol);
}

int pipe2(int fds[2], int flags)
{
    return fails(PIPE2) ? -1 : NEXT(PIPE2, int (*)(int *, int))(fds, flags);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    return op == EPOLL_CTL_ADD && fails(EPOLL_CTL)
               ? -1
               : NEXT(EPOLL_CTL, int (*)(int, int, int, struct epoll_event *))(epfd, op, fd, event);
}

ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
    return fails(GETRANDOM)
               ? -1
               : NEXT(GETRANDOM, ssize_t(*)(void *, size_t, unsigned))(buf, len, flags);
}

/* With a slot of its own: it comes back when the other side has said all that it will. */
int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct pollfd end = {.fd = fd, .events = POLLRDHUP};
    int r;
    int error;

    if (fails(CONNECT)) {
        return -1;
    }
    r = NEXT(CONNECT, int (*)(int, const struct sockaddr *, socklen_t))(fd, addr, len);
    error = errno;
    if (fails(SPEECH)) {
        (void)poll(&end, 1, 10000);
    }
    errno = error;
    return r;
}

/* As of a file on a server that does not answer. */
static void hang(const char *path)
{
    const char *hanging = getenv("FAILING_PATH");

    if (!hanging || strcmp(path, hanging) != 0) {
        return;
    }
    while (fails(HANG)) {
        (void)poll(NULL, 0, 10);
    }
}

int open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;
    va_end(args);
    hang(path);
    return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;
    va_end(args);
    hang(path);
    return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
}

int stat(const char *path, struct stat *st)
{
    hang(path);
    return ((int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "stat"))(path, st);
}

int stat64(const char *path, struct stat64 *st)
{
    hang(path);
    return ((int (*)(const char *, struct stat64 *))dlsym(RTLD_NEXT, "stat64"))(path, st);
}

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)
{
    return fails(SPLICE) ? -1
                         : NEXT(SPLICE, ssize_t(*)(int, off64_t *, int, off64_t *, size_t,
                                                   unsigned))(in, in_at, out, out_at, len, flags);
}

int eventfd(unsigned count, int flags)
{
    return fails(EVENTFD) ? -1 : NEXT(EVENTFD, int (*)(unsigned, int))(count, flags);
}

int epoll_create1(int flags)
{
    return fails(EPOLL_CREATE1) ? -1 : NEXT(EPOLL_CREATE1, int (*)(int))(flags);
}

int epoll_create(int size)
{
    return fails(EPOLL_CREATE1) ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "epoll_create"))(size);
}

int signalfd(int fd, const sigset_t *mask, int flags)
{
    return fails(SIGNALFD) ? -1
                           : NEXT(SIGNALFD, int (*)(int, const sigset_t *, int))(fd, mask, flags);
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    return fails(BIND)
               ? -1
               : NEXT(BIND, int (*)(int, const struct sockaddr *, socklen_t))(fd, addr, len);
}

int listen(int fd, int backlog)
{
    return fails(LISTEN) ? -1 : NEXT(LISTEN, int (*)(int, int))(fd, backlog);
}

/* Only what makes a pipe larger. */
int fcntl(int fd, int command, ...)
{
    void *argument;
    va_list arguments;

    va_start(arguments, command);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    return command == F_SETPIPE_SZ && fails(FCNTL)
               ? -1
               : NEXT(FCNTL, int (*)(int, int, void *))(fd, command, argument);
}

int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));
