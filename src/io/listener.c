// SPDX-License-Identifier: MIT
#include "io/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/stream_tcp.h"

#define ACCEPTS_A_TURN 64

struct listener {
    struct loop *loop;
    int fd;
    bool shared;
    bool paused;
    const struct listener_events *events;
    void *arg;
    const void *tag;
    struct loop_watch *watch;
};

/* ------------------------------------------------------------------ opening */

static int bind_tcp(const struct addr *addr, bool reuse_port, int *ret_fd)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(addr, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        (addr->kind == ADDR_IP6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
        (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(fd, (const struct sockaddr *)&sa, len) != 0) {
        int r = -errno;

        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static int listen_tcp(int fd, uint64_t keepalive_ms)
{
    stream_tcp_tune(fd, keepalive_ms); /* inherited by what is accepted */
    return listen(fd, SOMAXCONN) == 0 ? 0 : -errno;
}

/* Binds without SO_REUSEPORT: fails if anyone has the address, where a socket with it would
 * silently share. Tells the port. */
static int probe(struct addr *addr)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd = -1;
    int r = bind_tcp(addr, false, &fd);

    if (r != 0) {
        return r;
    }
    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0) {
        r = -errno;
    } else {
        addr->port = addr_from_sockaddr(&sa).port;
    }
    (void)close(fd);
    return r;
}

int listener_open_tcp(struct addr *addr, uint64_t keepalive_ms, bool overlaps, int *ret_fds,
                      size_t count)
{
    size_t opened = 0;
    int r = overlaps ? 0 : probe(addr);

    while (r == 0 && opened < count) {
        r = bind_tcp(addr, true, &ret_fds[opened]);
        if (r == 0) {
            r = listen_tcp(ret_fds[opened++], keepalive_ms);
        }
    }
    if (r != 0) {
        while (opened > 0) {
            (void)close(ret_fds[--opened]);
        }
    }
    return r;
}

/* Removes a socket file that nobody listens on. */
static int remove_stale(const struct sockaddr_un *sa)
{
    struct stat st;
    int fd;
    int r;

    if (lstat(sa->sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    r = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno != ECONNREFUSED
            ? -EADDRINUSE
            : 0;
    (void)close(fd);
    if (r == 0 && unlink(sa->sun_path) != 0) {
        r = -errno;
    }
    return r;
}

/* By a descriptor that is no more than a path: fchmod(2) refuses those, but not through /proc. */
static int change_unix(int fd, uid_t owner, gid_t group, const mode_t *mode)
{
    bool gives = owner != (uid_t)-1 || group != (gid_t)-1;
    char path[32];
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -ENOTSOCK;
    }
    if (gives && fchownat(fd, "", owner, group, AT_EMPTY_PATH) != 0) {
        return -errno;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return mode && chmod(path, *mode) != 0 ? -errno : 0;
}

int listener_change_unix(const char *path, uid_t owner, gid_t group, const mode_t *mode)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int r;

    if (fd < 0) {
        return -errno;
    }
    r = change_unix(fd, owner, group, mode);
    (void)close(fd);
    return r;
}

int listener_open_unix(const char *path, mode_t mode, gid_t group, int *ret_fd)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    mode_t old_mask;
    int fd;
    int r;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        return -ENAMETOOLONG;
    }
    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    r = remove_stale(&sa);
    if (r != 0) {
        return r;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    old_mask = umask(0177); /* nobody gets in before the mode is set */
    r = bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 ? 0 : -errno;
    (void)umask(old_mask);
    if (r != 0) {
        (void)close(fd);
        return r;
    }
    r = listener_change_unix(path, (uid_t)-1, group, &mode);
    if (r == 0 && listen(fd, SOMAXCONN) != 0) {
        r = -errno;
    }
    if (r != 0) {
        (void)unlink(path);
        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* ------------------------------------------------------------------ accepting */

void listener_pause(struct listener *listener)
{
    int r = loop_watch_set(listener->watch, 0);

    ASSERT(r == 0); /* watching for nothing needs no memory */
    listener->paused = true;
}

/* The peer of a unix socket is the user behind it. */
static struct addr peer_of(int fd, const struct sockaddr_storage *sa)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (sa->ss_family != AF_UNIX) {
        return addr_from_sockaddr(sa);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0) {
        cred.uid = (uid_t)-1;
    }
    return (struct addr){.kind = ADDR_UNIX, .uid = cred.uid};
}

static bool is_waiting(const struct listener *listener)
{
    struct pollfd look = {.fd = listener->fd, .events = POLLIN};

    return poll(&look, 1, 0) > 0;
}

/* Idle connections are closed only for somebody who is really there. */
static bool get_room(struct listener *listener)
{
    while (!listener->events->may_accept(listener->arg)) {
        if (!is_waiting(listener)) {
            return false;
        }
        if (!listener->events->make_room(listener->arg)) {
            listener_pause(listener);
            return false;
        }
    }
    return true;
}

/* True when another may wait. */
static bool accept_one(struct listener *listener)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(sa);
    struct addr peer;
    int fd;

    if (!get_room(listener)) {
        return false;
    }
    fd = accept4(listener->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        int error = errno;

        listener->events->unused(listener->arg);
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            listener_pause(listener);
            listener->events->starved(listener->arg, -error);
            return false;
        }
        /* EAGAIN: all taken. The others are troubles of one connection (accept(2)). */
        return error != EAGAIN && error != EINVAL && error != EBADF;
    }
    peer = peer_of(fd, &sa);
    listener->events->accepted(listener->arg, listener, fd, &peer);
    return true;
}

static void on_ready(void *arg, int fd, unsigned what)
{
    struct listener *listener = arg;

    (void)fd;
    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN && accept_one(listener); i++) {
    }
}

int listener_new(struct loop *loop, int fd, bool shared, const struct listener_events *events,
                 void *arg, const void *tag, struct listener **ret)
{
    struct listener *listener = mem_zalloc(sizeof(*listener));
    int r = -ENOMEM;

    if (listener) {
        *listener = (struct listener){
            .loop = loop, .fd = fd, .shared = shared, .events = events, .arg = arg, .tag = tag};
        r = loop_watch_new(loop, fd, LOOP_READ, on_ready, listener, &listener->watch);
    }
    if (r != 0) {
        mem_free(listener);
        return r;
    }
    *ret = listener;
    return 0;
}

const void *listener_tag(const struct listener *listener)
{
    return listener->tag;
}

int listener_fd(const struct listener *listener)
{
    return listener->fd;
}

bool listener_resume(struct listener *listener)
{
    if (listener->paused) {
        listener->paused = loop_watch_set(listener->watch, LOOP_READ) != 0;
    }
    return !listener->paused;
}

void listener_free(struct listener *listener)
{
    if (!listener) {
        return;
    }
    loop_watch_free(listener->watch);
    if (!listener->shared) {
        (void)close(listener->fd);
    }
    mem_free(listener);
}

void listener_drain(struct listener *listener)
{
    /* What waited when we began; whoever comes later finds the door shut. */
    for (int i = 0; i < SOMAXCONN && accept_one(listener); i++) {
    }
    listener_free(listener);
}
