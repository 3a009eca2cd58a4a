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

#include "base/mem.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/stream.h"

/* libevent reports an error (EPOLLERR) as READ|WRITE and drops the hang-up bit, so a reset that
 * arrives with the last data looks like plain data: the short read that takes the data would clear
 * readable, and no further edge comes. A stream whose owner still expects something is therefore
 * looked at once more after this time of silence. */
#define STREAM_VERIFY_MS 50

struct stream_tcp {
    struct stream stream;
    struct io *io;
    struct event event;
    struct deadline verify;
    struct corpse corpse;
    int fd;
    bool peer_closed; /* EV_CLOSED seen: read on until 0 or an error, no further edge will come */
};

static struct stream_tcp *tcp_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct stream_tcp, stream);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct stream_tcp *tcp = arg;

    (void)fd;
    if (what & EV_CLOSED) {
        tcp->peer_closed = true;
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

static void on_verify(struct deadline *deadline)
{
    struct stream_tcp *tcp = CONTAINER_OF(deadline, struct stream_tcp, verify);

    tcp->stream.readable = true;
    tcp->stream.on_ready(&tcp->stream);
}

static ssize_t tcp_read(struct stream *stream, void *dst, size_t len)
{
    struct stream_tcp *tcp = tcp_of(stream);
    ssize_t n;

    do {
        n = read(tcp->fd, dst, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN) {
            stream->readable = false;
            deadline_disarm(&tcp->verify);
            return -EAGAIN;
        }
        return -errno;
    }
    if (n > 0 && (size_t)n < len && !tcp->peer_closed) {
        stream->readable = false;
        deadline_arm(&tcp->verify, STREAM_VERIFY_MS);
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
        n = sendmsg(tcp->fd, &msg, MSG_NOSIGNAL);
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
    return shutdown(tcp_of(stream)->fd, SHUT_WR) == 0 ? 0 : -errno;
}

static void bury_tcp(struct corpse *corpse)
{
    mem_free(CONTAINER_OF(corpse, struct stream_tcp, corpse));
}

static void tcp_close(struct stream *stream, bool reset)
{
    struct stream_tcp *tcp = tcp_of(stream);

    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};

        (void)setsockopt(tcp->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    (void)event_del(&tcp->event);
    deadline_disarm(&tcp->verify);
    (void)close(tcp->fd);
    io_fd_give(tcp->io, 1);
    tcp->fd = -1;
    stream->on_ready = NULL;
    loop_bury(tcp->io->loop, &tcp->corpse, bury_tcp);
}

static int tcp_splice_fd(struct stream *stream)
{
    return tcp_of(stream)->fd;
}

static int tcp_error(struct stream *stream)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(tcp_of(stream)->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return -errno;
    }
    return -error;
}

static bool tcp_is_quiet(struct stream *stream)
{
    char byte;

    if (recv(tcp_of(stream)->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) {
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
    deadline_disarm(&tcp_of(stream)->verify);
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
    struct stream_tcp *tcp = mem_zalloc(sizeof(*tcp));

    if (!tcp) {
        goto fail;
    }
    tcp->stream.ops = &tcp_ops;
    tcp->stream.on_ready = ignore_ready;
    tcp->stream.peer = *peer;
    tcp->io = io;
    tcp->fd = fd;
    deadline_init(&tcp->verify, io->loop, on_verify);
    (void)event_assign(&tcp->event, loop_base(io->loop), fd,
                       EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, tcp);
    if (event_add(&tcp->event, NULL) != 0) {
        goto fail;
    }
    *ret = &tcp->stream;
    return 0;
fail:
    mem_free(tcp);
    (void)close(fd);
    io_fd_give(io, 1);
    return -ENOMEM;
}

void stream_tcp_tune(int fd, uint64_t keepalive_ms)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (keepalive_ms > 0) {
        int idle_s = (int)MIN(MAX(keepalive_ms / 1000, 1), 32767); /* the kernel's most */
        int interval_s = 10;
        int probes = 3;

        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    }
}

int stream_tcp_connect(struct io *io, const struct addr *to, uint64_t keepalive_ms,
                       struct stream **ret)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = addr_to_sockaddr(to, &sa);
    int fd;

    if (!io_fd_take(io, 1)) {
        return -EMFILE;
    }
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        int r = -errno;

        io_fd_give(io, 1);
        return r;
    }
    stream_tcp_tune(fd, keepalive_ms);
    if (connect(fd, (const struct sockaddr *)&sa, sa_len) != 0 && errno != EINPROGRESS) {
        int r = -errno;

        (void)close(fd);
        io_fd_give(io, 1);
        return r;
    }
    return stream_tcp_new(io, fd, to, ret);
}
