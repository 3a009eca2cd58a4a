/* SPDX-License-Identifier: MIT */
/*
 * The origin behind every proxy of the benchmark: as little work per request as
 * a server can do, so that it is never what is measured.
 *
 *   origin     prints "HTTP_PORT ECHO_PORT NAMES_PORT" and serves until it is killed
 *
 * HTTP: `GET /N`, in origin-form or absolute-form, is answered with N bytes; the
 * connection is kept unless the request says close. Requests carry no body.
 * Echo: what comes goes back; for messages small enough for the socket's buffer.
 * Names: names.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "names.h"
#include "net.h"

#define BODY_CHUNK ((size_t)512 * 1024)
#define MAX_FDS 65536
#define LISTEN_HTTP 0
#define LISTEN_ECHO 1

/* By descriptor. Untouched pages of the table cost nothing. */
struct conn {
    bool echo;
    bool close_after;
    bool answering;
    bool wants_write;
    uint64_t body_left;
    size_t head_len, head_sent;
    size_t in_len;
    char head[192];
    char in[2048];
};

static struct conn conns[MAX_FDS];
static int listeners[2];
static int epoll_fd;
static char body[BODY_CHUNK];
static char date[32];
static time_t date_of;

static void watch(int fd, bool write)
{
    struct epoll_event event = {.events = EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0),
                                .data.fd = fd};

    if (conns[fd].wants_write != write) {
        conns[fd].wants_write = write;
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
    }
}

static void accept_all(int listener, bool echo)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        struct conn *conn;

        if (fd >= MAX_FDS) {
            (void)close(fd);
            continue;
        }
        conn = &conns[fd];
        conn->echo = echo;
        conn->answering = conn->wants_write = conn->close_after = false;
        conn->in_len = 0;
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void set_date(void)
{
    time_t now = time(NULL);

    if (now != date_of) {
        struct tm tm;

        date_of = now;
        (void)gmtime_r(&now, &tm);
        (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
}

/* Path of the request target: what follows the authority, if there is one. */
static const char *path_of(const char *head)
{
    const char *target = strchr(head, ' ');

    if (target == NULL) {
        return "/0";
    }
    target++;
    if (*target != '/') {
        const char *scheme = strstr(target, "://");
        const char *slash = scheme == NULL ? NULL : strchr(scheme + 3, '/');

        return slash == NULL ? "/0" : slash;
    }
    return target;
}

/* HEAD_LEN bytes of conn->in are a whole head, its last byte a line feed. */
static void begin_answer(struct conn *conn, size_t head_len)
{
    char keep = conn->in[head_len - 1];

    conn->in[head_len - 1] = '\0';
    conn->body_left = strtoull(path_of(conn->in) + 1, NULL, 10);
    conn->close_after = strstr(conn->in, " HTTP/1.0\r") != NULL ||
                        strcasestr(conn->in, "\nconnection: close") != NULL;
    conn->in[head_len - 1] = keep;
    set_date();
    conn->head_len =
        (size_t)snprintf(conn->head, sizeof(conn->head),
                         "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: %s\r\nContent-Type: "
                         "application/octet-stream\r\nContent-Length: %llu\r\n%s\r\n",
                         date, (unsigned long long)conn->body_left,
                         conn->close_after ? "Connection: close\r\n" : "");
    conn->head_sent = 0;
    conn->answering = true;
    memmove(conn->in, conn->in + head_len, conn->in_len - head_len);
    conn->in_len -= head_len;
}

/* True when the whole answer has left; -1 in *RET_GONE when the peer has. */
static bool send_answer(int fd, struct conn *conn, bool *ret_gone)
{
    /* A few chunks, then the others have their turn. */
    for (int turn = 0; turn < 4; turn++) {
        size_t head_left = conn->head_len - conn->head_sent;
        size_t chunk = conn->body_left < BODY_CHUNK ? (size_t)conn->body_left : BODY_CHUNK;
        struct iovec iov[2] = {{conn->head + conn->head_sent, head_left}, {body, chunk}};
        ssize_t n = writev(fd, iov, 2);

        if (n < 0) {
            *ret_gone = errno != EAGAIN;
            return false;
        }
        if ((size_t)n < head_left) {
            conn->head_sent += (size_t)n;
            return false;
        }
        conn->head_sent = conn->head_len;
        conn->body_left -= (uint64_t)n - head_left;
        if (conn->body_left == 0) {
            return true;
        }
        if ((size_t)n < head_left + chunk) {
            return false;
        }
    }
    return false;
}

/* Answers what conn->in holds; false when the connection is to be closed. */
static bool serve(int fd, struct conn *conn)
{
    for (;;) {
        bool gone = false;

        if (!conn->answering) {
            char *end = memmem(conn->in, conn->in_len, "\r\n\r\n", 4);

            if (end == NULL) {
                watch(fd, false);
                return conn->in_len < sizeof(conn->in);
            }
            begin_answer(conn, (size_t)(end - conn->in) + 4);
        }
        if (!send_answer(fd, conn, &gone)) {
            watch(fd, !gone);
            return !gone;
        }
        conn->answering = false;
        if (conn->close_after) {
            return false;
        }
        if (conn->in_len == 0) {
            watch(fd, false);
            return true;
        }
    }
}

static bool echo_back(int fd)
{
    char buffer[16384];
    ssize_t n = read(fd, buffer, sizeof(buffer));

    if (n < 0) {
        return errno == EAGAIN;
    }
    return n > 0 && write(fd, buffer, (size_t)n) == n;
}

static bool handle(int fd, uint32_t events)
{
    struct conn *conn = &conns[fd];

    if (conn->echo) {
        return echo_back(fd);
    }
    if ((events & EPOLLIN) != 0 && conn->in_len < sizeof(conn->in)) {
        ssize_t n = read(fd, conn->in + conn->in_len, sizeof(conn->in) - conn->in_len);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return false;
        }
        conn->in_len += n > 0 ? (size_t)n : 0;
    }
    return serve(fd, conn);
}

int main(void)
{
    struct rlimit files;
    struct epoll_event names_event = {.events = EPOLLIN};
    uint16_t ports[2] = {0, 0};
    uint16_t names_port;
    int names_fd;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    memset(body, 'x', sizeof(body));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN};

        listeners[i] = listen_loopback(&ports[i]);
        event.data.fd = listeners[i];
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listeners[i], &event);
    }
    names_fd = names_event.data.fd = names_open(&names_port);
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, names_fd, &names_event);
    (void)printf("%u %u %u\n", ports[LISTEN_HTTP], ports[LISTEN_ECHO], names_port);
    (void)fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;

            if (fd == listeners[LISTEN_HTTP] || fd == listeners[LISTEN_ECHO]) {
                accept_all(fd, fd == listeners[LISTEN_ECHO]);
            } else if (fd == names_fd) {
                names_answer(fd);
            } else if (!handle(fd, events[i].events)) {
                (void)close(fd);
            }
        }
    }
}
