// SPDX-License-Identifier: MIT
/*
 * Load for test_storm.py: opens connections to 127.0.0.1:PORT from source
 * addresses all over 127.0.0.0/8.
 *
 *   storm churn PORT SECONDS COUNT      opens and resets, COUNT at a time
 *   storm silent PORT SECONDS COUNT     holds COUNT connections and says nothing
 *   storm trickle PORT SECONDS COUNT    holds COUNT, each sends a byte of a head a second
 *
 * Prints "connections N failed N dropped N lost N seconds S": dropped are those
 * that the full queue of the other side did not take, lost those that it has
 * ended.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint32_t next_source = 0x7f010001; /* 127.1.0.1 */
static uint16_t port;
static unsigned long opened, failed, lost, dropped;

static double now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int open_one(void)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        failed++;
        return -1;
    }
    if (++next_source >= 0x7ffffff0) {
        next_source = 0x7f010001;
    }
    from.sin_addr.s_addr = htonl(next_source);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)) {
        failed++;
        (void)close(fd);
        return -1;
    }
    opened++;
    return fd;
}

/* A full queue drops what asks for a connection: that is no connection opened. */
static void count_established(int fd)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);

    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0) {
        opened--;
        dropped++;
    }
}

static void churn(double end, int *fds, int count)
{
    while (now() < end) {
        for (int i = 0; i < count; i++) {
            fds[i] = open_one();
        }
        for (int i = 0; i < count; i++) {
            if (fds[i] >= 0) {
                count_established(fds[i]);
                (void)close(fds[i]);
            }
        }
    }
}

/* Ended by the other side; what it has said until then is thrown away. */
static bool is_over(int fd)
{
    char bytes[4096];
    ssize_t n;

    do {
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    } while (n > 0);
    return n == 0 || (errno != EAGAIN && errno != ENOTCONN);
}

static void hold(double end, int *fds, int count, bool trickles)
{
    static const char head[] =
        "GET http://127.0.0.1:9/ HTTP/1.1\r\nX-Slow: yes, very slow indeed\r\n";
    size_t at = 0;

    for (int i = 0; i < count; i++) {
        fds[i] = open_one();
    }
    (void)printf("open\n");
    (void)fflush(stdout);
    while (now() < end) {
        double next = now() + 1.0;

        for (int i = 0; i < count; i++) {
            if (fds[i] < 0) {
                continue;
            }
            if (is_over(fds[i]) || (trickles && send(fds[i], &head[at], 1, MSG_NOSIGNAL) < 0)) {
                lost++;
                (void)close(fds[i]);
                fds[i] = open_one();
            }
        }
        at = (at + 1) % (sizeof(head) - 1);
        while (now() < next && now() < end) {
            (void)poll(NULL, 0, 20);
        }
    }
}

int main(int argc, char **argv)
{
    double begin = now();
    int count = argc == 5 ? atoi(argv[4]) : 0;
    double end = argc == 5 ? begin + atof(argv[3]) : 0;
    int *fds;

    if (count <= 0) {
        (void)fprintf(stderr, "usage: storm churn|silent|trickle PORT SECONDS COUNT\n");
        return 2;
    }
    port = (uint16_t)atoi(argv[2]);
    fds = calloc((size_t)count, sizeof(*fds));
    if (!fds) {
        return 1;
    }
    if (strcmp(argv[1], "churn") == 0) {
        churn(end, fds, count);
    } else {
        hold(end, fds, count, strcmp(argv[1], "trickle") == 0);
    }
    (void)printf("connections %lu failed %lu dropped %lu lost %lu seconds %.2f\n", opened, failed,
                 dropped, lost, now() - begin);
    free(fds);
    return 0;
}
