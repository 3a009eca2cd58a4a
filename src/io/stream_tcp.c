// SPDX-License-Identifier: MIT
#include "io/stream_tcp.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slab.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/stream.h"

/* libevent reports an error (EPOLLERR) as READ|WRITE and drops the hang-up bit, so a reset that
 * arrives with the last data looks like plain data: the short read that takes the data would clear
 * readable, and no further edge comes. A stream whose owner still expects something is therefore
 * looked at once more after this time of silence. */
#define STREAM_VERIFY_MS 50
/* A connection that we have opened gets its keep-alive probes in the first silence of this length
 * (or of theirs, if that is shorter): they are four calls that most connections do not live to
 * need. */
#define STREAM_YOUNG_MS 5000

struct stream_tcp {
    struct stream stream;
    struct event event; /* knows the descriptor */
    union {
        struct deadline silence;
        struct task grave; /* once closed */
    };
};

static struct stream_tcp *tcp_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct stream_tcp, stream);
}

static int fd_of(const struct stream_tcp *tcp)
{
    return tcp->event.ev_fd;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct stream_tcp *tcp = arg;

    (void)fd;
    if (what & EV_CLOSED) {
        tcp->stream.ended = true;
        tcp->stream.readable = true;
    }
    if (what & EV_READ) {
        tcp->stream.readable = true;
    }
    if (what & EV_WRITE) {
        tcp->stream.writable = true;
    }
    tcp->stream.on_ready(&tcp->stream);
}

/* 0: none. */
static void set_keepalive(int fd, uint16_t idle_s)
{
    int on = idle_s > 0;
    int idle = idle_s;
    int interval_s = 10;
    int probes = 3;

    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (!on) {
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static uint16_t keepalive_seconds(uint64_t keepalive_ms)
{
    /* 32767: the kernel's most. */
    return keepalive_ms > 0 ? (uint16_t)MIN(MAX(keepalive_ms / 1000, 1), 32767) : 0;
}

/* Nothing is expected to come by itself. */
static void await_keepalive(struct stream_tcp *tcp)
{
    tcp->stream.looks_next = false;
    if (tcp->stream.keepalive_s > 0) {
        deadline_arm(&tcp->silence, tcp->stream.io->loop,
                     MIN((uint64_t)tcp->stream.keepalive_s * 1000, STREAM_YOUNG_MS));
    } else {
        deadline_disarm(&tcp->silence);
    }
}

static void on_silence(struct deadline *deadline)
{
    struct stream_tcp *tcp = CONTAINER_OF(deadline, struct stream_tcp, silence);

    if (tcp->stream.looks_next) {
        await_keepalive(tcp);
        tcp->stream.readable = true;
        tcp->stream.on_ready(&tcp->stream);
    } else {
        set_keepalive(fd_of(tcp), tcp->stream.keepalive_s);
        tcp->stream.keepalive_s = 0;
    }
}

static ssize_t tcp_read(struct stream *stream, void *dst, size_t len)
{
    struct stream_tcp *tcp = tcp_of(stream);
    ssize_t n;

    do {
        n = read(fd_of(tcp), dst, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN) {
            stream->readable = false;
            await_keepalive(tcp);
            return -EAGAIN;
        }
        return -errno;
    }
    stream->plenty = (size_t)n == len;
    if (n > 0 && (size_t)n < len && !stream->ended) {
        stream->readable = false;
        tcp->stream.looks_next = true;
        deadline_arm(&tcp->silence, tcp->stream.io->loop, STREAM_VERIFY_MS);
    }
    return n;
}

static ssize_t tcp_writev(struct stream *stream, const struct iovec *iov, int count)
{
    struct stream_tcp *tcp = tcp_of(stream);
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    size_t total = 0;
    ssize_t n;

    for (int i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    do {
        n = sendmsg(fd_of(tcp), &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN) {
            stream->writable = false;
            return -EAGAIN;
        }
        return -errno;
    }
    if ((size_t)n < total) {
        stream->writable = false;
    }
    return n;
}

static int tcp_shut_write(struct stream *stream)
{
    return shutdown(fd_of(tcp_of(stream)), SHUT_WR) == 0 ? 0 : -errno;
}

static void bury_tcp(struct task *task)
{
    struct stream_tcp *tcp = CONTAINER_OF(task, struct stream_tcp, grave);

    slab_free(&tcp->stream.io->slabs, tcp);
}

static void tcp_close(struct stream *stream, bool reset)
{
    struct stream_tcp *tcp = tcp_of(stream);

    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};

        (void)setsockopt(fd_of(tcp), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    (void)event_del(&tcp->event);
    deadline_disarm(&tcp->silence);
    (void)close(fd_of(tcp));
    io_fd_give(tcp->stream.io, 1);
    stream->on_ready = NULL;
    loop_bury(tcp->stream.io->loop, &tcp->grave, bury_tcp);
}

static int tcp_splice_fd(struct stream *stream)
{
    return fd_of(tcp_of(stream));
}

static int tcp_error(struct stream *stream)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(fd_of(tcp_of(stream)), SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return -errno;
    }
    return -error;
}

static bool tcp_is_quiet(struct stream *stream)
{
    char byte;

    if (recv(fd_of(tcp_of(stream)), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) {
        return false;
    }
    stream->readable = false;
    return true;
}

static bool tcp_has_event(struct stream *stream)
{
    return tcp_of(stream)->event.ev_evcallback.evcb_flags & EVLIST_ACTIVE;
}

static void tcp_relax(struct stream *stream)
{
    await_keepalive(tcp_of(stream));
}

static const struct stream_ops tcp_ops = {
    .read = tcp_read,
    .writev = tcp_writev,
    .shut_write = tcp_shut_write,
    .close = tcp_close,
    .splice_fd = tcp_splice_fd,
    .error = tcp_error,
    .is_quiet = tcp_is_quiet,
    .has_event = tcp_has_event,
    .relax = tcp_relax,
};

static void ignore_ready(struct stream *stream)
{
    (void)stream;
}

int stream_tcp_new(struct io *io, int fd, const struct addr *peer, struct stream **ret)
{
    struct stream_tcp *tcp = slab_zalloc(&io->slabs, sizeof(*tcp));

    if (!tcp) {
        goto fail;
    }
    tcp->stream.ops = &tcp_ops;
    tcp->stream.on_ready = ignore_ready;
    tcp->stream.peer = *peer;
    tcp->stream.io = io;
    deadline_init(&tcp->silence, on_silence);
    (void)event_assign(&tcp->event, loop_base(io->loop), fd,
                       EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, tcp);
    if (event_add(&tcp->event, NULL) != 0) {
        goto fail;
    }
    *ret = &tcp->stream;
    return 0;
fail:
    slab_free(&io->slabs, tcp);
    (void)close(fd);
    io_fd_give(io, 1);
    return -ENOMEM;
}

static void set_nodelay(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void stream_tcp_tune(int fd, uint64_t keepalive_ms)
{
    set_nodelay(fd);
    set_keepalive(fd, keepalive_seconds(keepalive_ms));
}

int stream_tcp_connect(struct io *io, const struct addr *to, uint64_t keepalive_ms,
                       struct stream **ret)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = addr_to_sockaddr(to, &sa);
    struct stream_tcp *tcp;
    int fd;
    int r;

    if (!io_fd_take(io, 1)) {
        return -EMFILE;
    }
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        r = -errno;
        io_fd_give(io, 1);
        return r;
    }
    set_nodelay(fd);
    if (connect(fd, (const struct sockaddr *)&sa, sa_len) != 0 && errno != EINPROGRESS) {
        r = -errno;
        (void)close(fd);
        io_fd_give(io, 1);
        return r;
    }
    r = stream_tcp_new(io, fd, to, ret);
    if (r == 0) {
        tcp = tcp_of(*ret);
        tcp->stream.keepalive_s = keepalive_seconds(keepalive_ms);
        await_keepalive(tcp);
    }
    return r;
}
