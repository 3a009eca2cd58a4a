/* SPDX-License-Identifier: MIT */
/*
 * The load that wrk does not make: connections opened for each request, CONNECT
 * and what goes through it, a fixed rate (open loop), thousands of connections,
 * thousands of origins.
 *
 *   load OPTION=VALUE...
 *     proxy=PORT           where to connect to, on 127.0.0.1
 *     origin=PORT          what is asked for, on 127.0.0.1 (or host=NAME)
 *     unit=get|ping|none   what one request is: GET, 64 bytes to and fro, the CONNECT alone
 *     bytes=N              a GET's answer
 *     tunnel=0|1|2         1: CONNECT first; 2: the other side is a relay, no CONNECT wanted
 *     fresh=0|1            1: a connection for each request, its source address ever another
 *     connections=N        kept open; the requests go round them
 *     inflight=N           requests under way at once (closed loop)
 *     rate=N               requests a second, arrivals as of a Poisson process (open loop); the
 *                          time of a request counts from when it was due
 *     auth=BASE64          credentials that each request brings along (Basic)
 *     origins=N            that many addresses of 127.0.0.0/8, or that many names below host,
 *                          take turns as the target
 *     strict=0|1           1: a kept connection that ends is an error, and nothing is sent again
 *     seconds=S, requests=N   how long, or how many
 *
 *   load spin              a fixed piece of work; prints what it took: the machine's noise
 *
 * It opens its connections, sends one request over each, prints "ready", and
 * waits for a line on stdin; then it runs, prints one JSON object, and holds its
 * connections until stdin ends. A request that fails is an error, never a figure.
 */
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "histogram.h"
#include "net.h"

#define PING_BYTES 64
#define AUTH_BYTES 64
#define BATCH 256
#define OPENING_AT_ONCE 128
#define PATIENCE_NS (20 * 1000000000ULL)

enum unit {
    UNIT_GET,
    UNIT_PING,
    UNIT_NONE,
};

enum state {
    CLOSED,
    OPENING, /* the CONNECT is under way */
    IDLE,
    HEAD,
    BODY,
};

struct conn {
    int fd;
    enum state state;
    bool wants_write;
    bool queued; /* in the ring of idle ones */
    bool reused; /* has had a request before this one */
    bool close_after;
    uint64_t begun_ns;
    uint64_t body_left;
    size_t out_len, out_sent;
    size_t in_len;
    char out[512];
    char in[1024];
};

static struct {
    uint16_t proxy, origin;
    const char *host;
    const char *auth;
    enum unit unit;
    unsigned tunnel;
    bool fresh, strict;
    size_t connections, inflight;
    uint64_t bytes, rate, origins, requests, ns;
} want = {.unit = UNIT_GET, .bytes = 1024, .connections = 1, .inflight = 1, .origins = 1};

static struct conn *conns;
static size_t *ring; /* idle connections, first in first out */
static size_t ring_first, ring_count;
static int epoll_fd;
static uint64_t next_origin;
static uint32_t next_source;
static bool measuring;
static uint64_t begun_units, done_units, failed_units, bytes_read;
static size_t busy;
static char first_error[160];
static struct histogram times;

static void begin_unit(struct conn *conn, uint64_t begun_ns);

static size_t index_of(const struct conn *conn)
{
    return (size_t)(conn - conns);
}

static void make_idle(struct conn *conn)
{
    if (!conn->queued) {
        conn->queued = true;
        ring[(ring_first + ring_count++) % want.connections] = index_of(conn);
    }
}

static struct conn *take_idle(void)
{
    struct conn *conn;

    if (ring_count == 0) {
        return NULL;
    }
    conn = &conns[ring[ring_first]];
    ring_first = (ring_first + 1) % want.connections;
    ring_count--;
    conn->queued = false;
    return conn;
}

static void hang_up(struct conn *conn)
{
    if (conn->fd >= 0) {
        (void)close(conn->fd);
    }
    conn->fd = -1;
    conn->state = CLOSED;
}

__attribute__((format(printf, 2, 3))) static void fail(struct conn *conn, const char *format, ...)
{
    va_list args;

    if (first_error[0] == '\0') {
        va_start(args, format);
        (void)vsnprintf(first_error, sizeof(first_error), format, args);
        va_end(args);
    }
    if (conn->state != CLOSED && conn->state != IDLE) {
        busy--;
    }
    failed_units += conn->state != CLOSED;
    hang_up(conn);
    make_idle(conn);
}

/*
 * A kept connection may end just as the next request leaves: that one is sent
 * again over a new connection, as any client would, and its time runs on.
 */
static bool again(struct conn *conn)
{
    if (!conn->reused || conn->in_len > 0 || want.unit != UNIT_GET || want.tunnel != 0 ||
        want.strict) {
        return false;
    }
    hang_up(conn);
    busy--;
    begun_units--;
    begin_unit(conn, conn->begun_ns);
    return true;
}

/* --- Sending -----------------------------------------------------------------------------------
 */

static void watch(struct conn *conn, bool write)
{
    struct epoll_event event = {.events = EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0),
                                .data.u64 = index_of(conn)};

    if (conn->wants_write != write) {
        conn->wants_write = write;
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
    }
}

static void send_out(struct conn *conn)
{
    ssize_t n =
        send(conn->fd, conn->out + conn->out_sent, conn->out_len - conn->out_sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        if (!again(conn)) {
            fail(conn, "send: %s", strerror(errno));
        }
        return;
    }
    conn->out_sent += n > 0 ? (size_t)n : 0;
    watch(conn, conn->out_sent < conn->out_len);
}

static bool dial(struct conn *conn)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(want.proxy)};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = index_of(conn)};
    int on = 1;

    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        return false;
    }
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (want.fresh) {
        struct sockaddr_in from = {.sin_family = AF_INET};

        from.sin_addr.s_addr = htonl(0x7f030001U + (next_source++ & 0x3fffU));
        (void)setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        (void)bind(conn->fd, (struct sockaddr *)&from, sizeof(from));
    }
    if (connect(conn->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
        return false;
    }
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event);
    conn->wants_write = false;
    conn->close_after = false;
    conn->in_len = 0;
    return true;
}

/* The next target as "host:port". */
static void next_target(char *ret_text, size_t size)
{
    uint64_t turn = next_origin++ % want.origins;

    if (want.host != NULL && want.origins > 1) {
        (void)snprintf(ret_text, size, "o%u.%s:%u", (unsigned)turn, want.host, want.origin);
    } else if (want.host != NULL) {
        (void)snprintf(ret_text, size, "%s:%u", want.host, want.origin);
    } else if (want.origins == 1) {
        (void)snprintf(ret_text, size, "127.0.0.1:%u", want.origin);
    } else {
        (void)snprintf(ret_text, size, "127.4.%u.%u:%u", (unsigned)(turn / 200),
                       (unsigned)(turn % 200) + 1, want.origin);
    }
}

static void write_get(struct conn *conn)
{
    char target[96];

    next_target(target, sizeof(target));
    conn->out_len = (size_t)snprintf(conn->out, sizeof(conn->out),
                                     "GET http://%s/%llu HTTP/1.1\r\nHost: %s\r\n"
                                     "User-Agent: load\r\nAccept: */*\r\n%s%s%s\r\n",
                                     target, (unsigned long long)want.bytes, target,
                                     want.auth ? "Proxy-Authorization: Basic " : "",
                                     want.auth ? want.auth : "", want.auth ? "\r\n" : "");
}

static void write_connect(struct conn *conn)
{
    char target[96];

    next_target(target, sizeof(target));
    conn->out_len = (size_t)snprintf(conn->out, sizeof(conn->out),
                                     "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target);
}

/* --- Units: one request, or what stands for it --------------------------------------------------
 */

static void send_unit(struct conn *conn)
{
    if (want.unit == UNIT_PING) {
        memset(conn->out, 'p', PING_BYTES);
        conn->out_len = PING_BYTES;
        conn->body_left = PING_BYTES;
        conn->state = BODY;
    } else {
        write_get(conn);
        conn->state = HEAD;
    }
    conn->in_len = 0;
    conn->out_sent = 0;
    send_out(conn);
}

static void begin_unit(struct conn *conn, uint64_t begun_ns)
{
    conn->begun_ns = begun_ns;
    conn->reused = conn->fd >= 0;
    busy++;
    begun_units++;
    if (conn->fd >= 0) {
        send_unit(conn);
        return;
    }
    conn->state = OPENING;
    if (!dial(conn)) {
        fail(conn, "connect: %s", strerror(errno));
    } else if (want.tunnel == 1) {
        write_connect(conn);
        conn->out_sent = 0;
        send_out(conn);
    } else {
        send_unit(conn);
    }
}

static void end_unit(struct conn *conn)
{
    busy--;
    done_units++;
    if (measuring) {
        histogram_add(&times, now_ns() - conn->begun_ns);
    }
    conn->state = IDLE;
    if (want.fresh || conn->close_after) {
        hang_up(conn);
    }
    make_idle(conn);
}

/* --- Receiving -----------------------------------------------------------------------------------
 */

/* The head in conn->in, HEAD_LEN bytes of it, is whole: how long is what follows? */
static void end_head(struct conn *conn, size_t head_len)
{
    char *head = conn->in;
    char *length;

    head[head_len - 1] = '\0';
    if (strncmp(head, "HTTP/1.", 7) != 0 || strncmp(head + 8, " 200", 4) != 0) {
        head[strcspn(head, "\r\n")] = '\0';
        fail(conn, "answered: %.100s", head);
        return;
    }
    if (conn->state == OPENING) {
        conn->in_len = 0;
        if (want.unit == UNIT_NONE) {
            end_unit(conn);
        } else {
            send_unit(conn);
        }
        return;
    }
    length = strcasestr(head, "\ncontent-length:");
    if (length == NULL) {
        fail(conn, "an answer without Content-Length");
        return;
    }
    conn->body_left = strtoull(length + 16, NULL, 10);
    conn->close_after = strcasestr(head, "\nconnection: close") != NULL || head[7] == '0';
    if (conn->body_left != want.bytes) {
        fail(conn, "an answer of %llu bytes", (unsigned long long)conn->body_left);
        return;
    }
    conn->state = BODY;
    bytes_read += conn->in_len - head_len;
    conn->body_left -= conn->in_len - head_len;
    if (conn->body_left == 0) {
        end_unit(conn);
    }
}

static void receive_head(struct conn *conn)
{
    ssize_t n = recv(conn->fd, conn->in + conn->in_len, sizeof(conn->in) - 1 - conn->in_len, 0);
    char *end;

    if (n <= 0) {
        if ((n == 0 || errno != EAGAIN) && !again(conn)) {
            fail(conn, "%s before an answer", n == 0 ? "closed" : strerror(errno));
        }
        return;
    }
    conn->in_len += (size_t)n;
    end = memmem(conn->in, conn->in_len, "\r\n\r\n", 4);
    if (end != NULL) {
        end_head(conn, (size_t)(end - conn->in) + 4);
    } else if (conn->in_len == sizeof(conn->in) - 1) {
        fail(conn, "a head longer than %zu bytes", sizeof(conn->in));
    }
}

static void receive_body(struct conn *conn)
{
    /* Large bodies are thrown away in the kernel: their reader must not be the bottleneck. */
    static char sink[65536];
    size_t size = conn->body_left < (1U << 24) ? (size_t)conn->body_left : (1U << 24);
    ssize_t n = size <= sizeof(sink) ? recv(conn->fd, sink, size, 0)
                                     : recv(conn->fd, NULL, size, MSG_TRUNC);

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            fail(conn, "%s within an answer", n == 0 ? "closed" : strerror(errno));
        }
        return;
    }
    bytes_read += (uint64_t)n;
    conn->body_left -= (uint64_t)n;
    if (conn->body_left == 0) {
        end_unit(conn);
    }
}

static void handle(struct conn *conn, uint32_t events)
{
    if (conn->fd < 0) {
        return;
    }
    if ((events & EPOLLOUT) != 0 && conn->out_sent < conn->out_len) {
        send_out(conn);
    }
    if (conn->fd < 0 || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) {
        return;
    }
    switch (conn->state) {
    case IDLE: /* bytes nobody asked for, or, most likely, its end */
        if (want.strict) {
            fail(conn, "a kept connection was closed");
        }
        hang_up(conn);
        break;
    case OPENING:
    case HEAD:
        receive_head(conn);
        break;
    case BODY:
        receive_body(conn);
        break;
    case CLOSED:
        break;
    }
}

/* Waits for events and handles them, TIMEOUT_NS at most. */
static void turn(uint64_t timeout_ns)
{
    struct epoll_event events[BATCH];
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000U),
                               .tv_nsec = (long)(timeout_ns % 1000000000U)};
    int n = epoll_pwait2(epoll_fd, events, BATCH, &timeout, NULL);

    for (int i = 0; i < n; i++) {
        handle(&conns[events[i].data.u64], events[i].events);
    }
}

/* --- Phases --------------------------------------------------------------------------------------
 */

static void wait_for_busy(size_t at_most)
{
    uint64_t deadline = now_ns() + PATIENCE_NS;

    while (busy > at_most && now_ns() < deadline) {
        turn(100000000);
    }
    for (size_t i = 0; busy > at_most && i < want.connections; i++) {
        if (conns[i].state != CLOSED && conns[i].state != IDLE) {
            fail(&conns[i], "no answer within 20 s");
        }
    }
}

/* Opens every connection with a first request; every origin is asked at least once. */
static void warm_up(void)
{
    uint64_t units = want.fresh ? 8 : want.connections;

    if (want.origins > units) {
        units = want.origins;
    }
    for (uint64_t i = 0; i < units && failed_units == 0; i++) {
        struct conn *conn = take_idle();

        while (conn == NULL && busy > 0) {
            turn(PATIENCE_NS);
            conn = take_idle();
        }
        if (conn == NULL) {
            break;
        }
        begin_unit(conn, now_ns());
        wait_for_busy(OPENING_AT_ONCE);
    }
    wait_for_busy(0);
}

static void run_closed(uint64_t end_ns)
{
    while (now_ns() < end_ns && (want.requests == 0 || begun_units < want.requests)) {
        while (busy < want.inflight && ring_count > 0 &&
               (want.requests == 0 || begun_units < want.requests)) {
            begin_unit(take_idle(), now_ns());
        }
        turn(10000000);
    }
}

/* The same arrivals in every run: the generator starts from the same seed. */
static uint64_t next_gap_ns(void)
{
    static uint64_t state = 88172645463325252U;
    double uniform;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    uniform = ((double)(state >> 11) + 1) / 9007199254740993.0;
    return (uint64_t)(-log(uniform) * 1e9 / (double)want.rate);
}

static void run_open(uint64_t end_ns)
{
    uint64_t due = now_ns() + next_gap_ns();

    for (;;) {
        uint64_t now = now_ns();

        while (due <= now && ring_count > 0) {
            if (want.requests > 0 ? begun_units >= want.requests : due >= end_ns) {
                return;
            }
            begin_unit(take_idle(), due);
            due += next_gap_ns();
        }
        if (now > end_ns + PATIENCE_NS) {
            return;
        }
        turn(due > now ? due - now : 10000000);
    }
}

static void report(double seconds)
{
    (void)printf("{\"requests\": %llu, \"bytes\": %llu, \"errors\": %llu, \"error\": \"",
                 (unsigned long long)done_units, (unsigned long long)bytes_read,
                 (unsigned long long)failed_units);
    for (const char *c = first_error; *c != '\0'; c++) {
        (void)putchar(*c < ' ' || *c == '"' || *c == '\\' ? '?' : *c);
    }
    (void)printf("\", \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
                 "\"max_us\": %.1f}\n",
                 seconds, histogram_us(&times, 500), histogram_us(&times, 990),
                 histogram_us(&times, 999), (double)times.max_ns / 1000.0);
    (void)fflush(stdout);
}

static void run(void)
{
    uint64_t start;

    begun_units = done_units = bytes_read = 0;
    measuring = true;
    start = now_ns();
    if (want.rate > 0) {
        run_open(want.requests > 0 ? UINT64_MAX / 2 : start + want.ns);
    } else {
        run_closed(start + (want.requests > 0 ? PATIENCE_NS : want.ns));
    }
    wait_for_busy(0);
    measuring = false;
    report((double)(now_ns() - start) / 1e9);
}

/* --- The rest ------------------------------------------------------------------------------------
 */

/* Arithmetic and small messages through the kernel, as a proxy's work is. */
static int spin(void)
{
    int pair[2];
    uint64_t state = 1;
    uint64_t start;
    char byte = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        die("socketpair");
    }
    start = now_ns();
    for (int i = 0; i < 20000; i++) {
        for (int j = 0; j < 500; j++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        byte = (char)state;
        if (write(pair[0], &byte, 1) != 1 || read(pair[1], &byte, 1) != 1) {
            die("socketpair");
        }
    }
    (void)printf("%llu\n", (unsigned long long)(now_ns() - start));
    return byte == 127 && state == 0;
}

static void usage(const char *word)
{
    (void)fprintf(stderr, "load: what is '%s'? The top of load.c tells.\n", word);
    exit(2);
}

static void set_unit(const char *value)
{
    if (strcmp(value, "get") == 0) {
        want.unit = UNIT_GET;
    } else if (strcmp(value, "ping") == 0) {
        want.unit = UNIT_PING;
    } else if (strcmp(value, "none") == 0) {
        want.unit = UNIT_NONE;
    } else {
        usage(value);
    }
}

static void set_option(const char *word)
{
    const char *value = strchr(word, '=');
    size_t len = value == NULL ? 0 : (size_t)(value - word);

#define IS(name) (len == sizeof(name) - 1 && memcmp(word, name, len) == 0)
    value = value == NULL ? "" : value + 1;
    if (IS("proxy")) {
        want.proxy = (uint16_t)number(value);
    } else if (IS("origin")) {
        want.origin = (uint16_t)number(value);
    } else if (IS("host")) {
        want.host = value;
    } else if (IS("auth")) {
        if (strlen(value) > AUTH_BYTES) {
            usage(word);
        }
        want.auth = value;
    } else if (IS("unit")) {
        set_unit(value);
    } else if (IS("bytes")) {
        want.bytes = number(value);
    } else if (IS("tunnel")) {
        want.tunnel = (unsigned)number(value);
    } else if (IS("fresh")) {
        want.fresh = number(value) != 0;
    } else if (IS("strict")) {
        want.strict = number(value) != 0;
    } else if (IS("connections")) {
        want.connections = number(value);
    } else if (IS("inflight")) {
        want.inflight = number(value);
    } else if (IS("rate")) {
        want.rate = number(value);
    } else if (IS("origins")) {
        want.origins = number(value);
    } else if (IS("requests")) {
        want.requests = number(value);
    } else if (IS("seconds")) {
        want.ns = (uint64_t)(strtod(value, NULL) * 1e9);
    } else {
        usage(word);
    }
#undef IS
}

static void set_up(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (want.connections == 0 || want.connections > 60000 || want.origins == 0) {
        usage("connections, origins");
    }
    if (want.unit == UNIT_NONE && (want.tunnel != 1 || !want.fresh)) {
        usage("unit=none without tunnel=1 fresh=1");
    }
    conns = calloc(want.connections, sizeof(*conns));
    ring = calloc(want.connections, sizeof(*ring));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (conns == NULL || ring == NULL || epoll_fd < 0) {
        die("set-up");
    }
    for (size_t i = 0; i < want.connections; i++) {
        conns[i].fd = -1;
        make_idle(&conns[i]);
    }
}

/* Waits for a line, or for the end of stdin. */
static void wait_for_line(void)
{
    int c;

    do {
        c = getchar();
    } while (c != EOF && c != '\n');
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "spin") == 0) {
        return spin();
    }
    for (int i = 1; i < argc; i++) {
        set_option(argv[i]);
    }
    set_up();
    warm_up();
    (void)printf("ready\n");
    (void)fflush(stdout);
    wait_for_line();
    if (want.requests > 0 || want.ns > 0) {
        run();
    } else {
        report(0);
    }
    wait_for_line();
    return 0;
}
