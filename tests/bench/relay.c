/* SPDX-License-Identifier: MIT */
/*
 * The floor of the benchmark: a relay that understands nothing. Every client
 * connection gets a connection to the target, and bytes go both ways by splice.
 * What a proxy costs beyond this it costs for being a proxy.
 *
 *   relay TARGET_PORT   prints the two ports it listens on and relays until killed
 *
 * The first port relays from the first byte on. The second is for clients that
 * say CONNECT: what they send first is thrown away unread and answered by 200.
 * The target is dialled at ever other addresses of 127.2.0.0/16, so that tens of
 * thousands of closed connections do not stand in the way of new ones. A pipe is
 * held only while it holds bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define PIPE_BYTES ((size_t)1024 * 1024)
#define BATCH 256

struct link;

struct end {
    struct link *link;
    int fd;
    int pipe[2];     /* what came from here and waits for the other end; -1 without */
    size_t held;     /* bytes in the pipe */
    uint32_t events; /* asked of epoll */
    bool ended;      /* read to its end, and the other end was told */
    bool greet;      /* a CONNECT is to come from here */
};

struct link {
    struct end ends[2];
    bool dead;
    struct link *next_dead;
};

struct pipe_stock {
    int fds[2];
    struct pipe_stock *next;
};

static int epoll_fd;
static uint16_t target_port;
static uint32_t next_target;
static struct pipe_stock *stock;
static struct link *graveyard;

static void take_pipe(int ret_pipe[2])
{
    struct pipe_stock *first = stock;

    if (first != NULL) {
        ret_pipe[0] = first->fds[0];
        ret_pipe[1] = first->fds[1];
        stock = first->next;
        free(first);
        return;
    }
    if (pipe2(ret_pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
        die("pipe2");
    }
    (void)fcntl(ret_pipe[0], F_SETPIPE_SZ, (int)PIPE_BYTES);
}

static void give_pipe(int pipe[2])
{
    struct pipe_stock *entry = malloc(sizeof(*entry));

    if (entry == NULL) {
        die("malloc");
    }
    entry->fds[0] = pipe[0];
    entry->fds[1] = pipe[1];
    entry->next = stock;
    stock = entry;
    pipe[0] = pipe[1] = -1;
}

static void set_events(struct end *end, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = end};

    if (end->events != events) {
        end->events = events;
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, end->fd, &event);
    }
}

/* Freed after the batch: later events of it may name the same link. */
static void bury(struct link *link)
{
    if (link->dead) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct end *end = &link->ends[i];

        (void)close(end->fd);
        if (end->pipe[0] >= 0) { /* never reused: bytes are in it */
            (void)close(end->pipe[0]);
            (void)close(end->pipe[1]);
        }
    }
    link->dead = true;
    link->next_dead = graveyard;
    graveyard = link;
}

static void bury_all(void)
{
    while (graveyard != NULL) {
        struct link *link = graveyard;

        graveyard = link->next_dead;
        free(link);
    }
}

/* Empties FROM's pipe into TO. False when TO takes no more now, or never. */
static bool flush(struct end *from, struct end *to)
{
    while (from->held > 0) {
        ssize_t n = splice(from->pipe[0], NULL, to->fd, NULL, from->held, SPLICE_F_NONBLOCK);

        if (n <= 0) {
            if (n < 0 && errno != EAGAIN) {
                bury(from->link);
            }
            return false;
        }
        from->held -= (size_t)n;
    }
    give_pipe(from->pipe);
    return true;
}

/* Takes the CONNECT for granted. */
static void greet(struct end *end)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\n\r\n";
    char head[4096];

    if (read(end->fd, head, sizeof(head)) <= 0 || write(end->fd, ok, sizeof(ok) - 1) < 0) {
        bury(end->link);
        return;
    }
    end->greet = false;
}

/* One step from FROM to TO. */
static void pump(struct end *from, struct end *to)
{
    if (from->held == 0) {
        int *pipe = from->pipe;
        ssize_t n;

        take_pipe(pipe);
        n = splice(from->fd, NULL, pipe[1], NULL, PIPE_BYTES, SPLICE_F_NONBLOCK);
        if (n <= 0) {
            give_pipe(pipe);
            if (n < 0) {
                if (errno != EAGAIN) {
                    bury(from->link);
                }
                return;
            }
            from->ended = true;
            set_events(from, from->events & ~(uint32_t)EPOLLIN);
            (void)shutdown(to->fd, SHUT_WR);
            if (to->ended) {
                bury(from->link);
            }
            return;
        }
        from->held = (size_t)n;
    }
    if (flush(from, to)) {
        set_events(to, to->events & ~(uint32_t)EPOLLOUT);
        set_events(from, from->ended ? from->events : from->events | EPOLLIN);
    } else if (!from->link->dead) {
        set_events(to, to->events | EPOLLOUT);
        set_events(from, from->events & ~(uint32_t)EPOLLIN);
    }
}

static void handle(struct end *end, uint32_t events)
{
    struct link *link = end->link;
    struct end *other = &link->ends[end == &link->ends[0]];

    if (!link->dead && (events & EPOLLOUT) != 0 && other->held > 0) {
        pump(other, end);
    }
    if (end->greet) {
        greet(end);
        return;
    }
    if (!link->dead && !end->ended && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 &&
        end->held == 0) {
        pump(end, other);
    }
    if (!link->dead && end->ended && (events & (EPOLLHUP | EPOLLERR)) != 0) {
        bury(link);
    }
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(target_port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    to.sin_addr.s_addr = htonl(0x7f020001U + (next_target++ & 0x3fffU));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void open_link(int client, bool connect_first)
{
    int server = dial();
    struct link *link = calloc(1, sizeof(*link));
    int fds[2] = {client, server};

    if (server < 0 || link == NULL) {
        (void)close(client);
        free(link);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct end *end = &link->ends[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};

        *end = (struct end){.link = link,
                            .fd = fds[i],
                            .pipe = {-1, -1},
                            .events = EPOLLIN,
                            .greet = connect_first && i == 0};
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event);
    }
}

static void accept_one(int listener, bool connect_first)
{
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (client >= 0) {
        open_link(client, connect_first);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    uint16_t ports[2] = {0, 0};
    /* Told from ends of links by their address. */
    int listeners[2];

    if (argc != 2) {
        (void)fprintf(stderr, "usage: relay TARGET_PORT\n");
        return 2;
    }
    target_port = (uint16_t)number(argv[1]);
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};

        listeners[i] = listen_loopback(&ports[i]);
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listeners[i], &event);
    }
    (void)printf("%u %u\n", ports[0], ports[1]);
    (void)fflush(stdout);
    for (;;) {
        struct epoll_event events[BATCH];
        int n = epoll_wait(epoll_fd, events, BATCH, -1);

        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;

            if (what == &listeners[0] || what == &listeners[1]) {
                accept_one(*(int *)what, what == &listeners[1]);
            } else {
                handle(what, events[i].events);
            }
        }
        bury_all();
    }
}
