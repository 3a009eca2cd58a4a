// SPDX-License-Identifier: MIT

/* What machine.c makes tables of, asked of the kernel by netlink. */

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "log/log.h"
#include "policy/machine.h"

#define DATAGRAM_MAX_BYTES 32768 /* the kernel fills no larger ones into a dump */
#define DUMP_TRIES 10            /* a dump that a change interrupts is asked for again */
#define RETRY_MS 1000

/* ---- Asking the kernel ---- */

struct found {
    struct addr *items; /* owned */
    size_t count;
    size_t cap;
    bool is_out; /* memory is */
};

static void add_found(void *arg, const struct addr *addr)
{
    struct found *found = arg;

    if (found->count == found->cap) {
        size_t cap = found->cap > 0 ? found->cap * 2 : 16;
        struct addr *grown = mem_realloc_array(found->items, cap, sizeof(*grown));

        if (!grown) {
            found->is_out = true;
            return;
        }
        found->items = grown;
        found->cap = cap;
    }
    found->items[found->count++] = *addr;
}

/* groups: 0, or what to be told of. */
static int open_netlink(unsigned groups, int flags, int *ret_fd)
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_groups = groups};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE);
    int error;

    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (const struct sockaddr *)&self, sizeof(self)) != 0) {
        error = -errno;
        (void)close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

static int ask(int fd)
{
    const struct {
        struct nlmsghdr head;
        struct ifaddrmsg body;
    } request = {
        .head = {.nlmsg_len = sizeof(request),
                 .nlmsg_type = RTM_GETADDR,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.ifa_family = AF_UNSPEC},
    };

    return send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request) ? 0 : -errno;
}

/* One datagram of the kernel's; what others send is passed over. 0 or negative errno. */
static int receive(int fd, char *buf, struct str *ret)
{
    struct sockaddr_nl from = {0};
    socklen_t from_len;
    ssize_t got;

    do {
        from_len = sizeof(from);
        got = recvfrom(fd, buf, DATAGRAM_MAX_BYTES, MSG_TRUNC, (struct sockaddr *)&from, &from_len);
    } while ((got < 0 && errno == EINTR) || (got >= 0 && from.nl_pid != 0));
    if (got < 0) {
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    }
    if (got > DATAGRAM_MAX_BYTES) {
        return -EMSGSIZE;
    }
    *ret = str_make(buf, (size_t)got);
    return 0;
}

static int dump(int fd, char *buf, struct found *found)
{
    int error = ask(fd);
    bool done = false;

    found->count = 0;
    while (!error && !done) {
        struct str datagram = {0};

        error = receive(fd, buf, &datagram);
        if (!error) {
            error = machine_parse(datagram, add_found, found, &done);
        }
    }
    return !error && found->is_out ? -ENOMEM : error;
}

/* On a socket of its own: what is left of an interrupted dump goes with it. */
static int dump_once(char *buf, struct found *found)
{
    const struct timeval patience = {.tv_sec = 1};
    int fd = -1;
    int error = open_netlink(0, 0, &fd);

    if (error) {
        return error;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    error = dump(fd, buf, found);
    (void)close(fd);
    return error;
}

int machine_addrs_read(struct machine_addrs **ret)
{
    struct found found = {0};
    char *buf = mem_alloc(DATAGRAM_MAX_BYTES);
    int error = buf ? -EAGAIN : -ENOMEM;

    for (int i = 0; i < DUMP_TRIES && error == -EAGAIN; i++) {
        error = dump_once(buf, &found);
    }
    if (!error) {
        error = machine_addrs_new(found.items, found.count, ret);
    }
    mem_free(found.items);
    mem_free(buf);
    return error;
}

/* ---- Following ---- */

struct machine {
    struct machine_addrs *addrs; /* owned */
    int fd;
    struct loop *loop;        /* borrowed */
    struct loop_watch *watch; /* owned */
    struct deadline retry;
};

static void read_again(struct machine *machine)
{
    struct machine_addrs *addrs = NULL;
    int error = machine_addrs_read(&addrs);

    if (error) {
        log_event(LOG_WARNING, "machine", "this machine's addresses cannot be read: %s",
                  strerror(-error));
        deadline_arm(&machine->retry, machine->loop, RETRY_MS);
        return;
    }
    machine_addrs_free(machine->addrs);
    machine->addrs = addrs;
}

static void on_retry(struct deadline *deadline)
{
    read_again(CONTAINER_OF(deadline, struct machine, retry));
}

/* What exactly has changed is not looked at: the kernel may have left some of it out (ENOBUFS). */
static void on_change(void *arg, int fd, unsigned what)
{
    struct machine *machine = arg;
    char byte;

    (void)what;
    while (recv(fd, &byte, sizeof(byte), 0) >= 0 || errno == ENOBUFS || errno == EINTR) {
    }
    read_again(machine);
}

int machine_new(struct loop *loop, struct machine **ret)
{
    struct machine *machine = mem_zalloc(sizeof(*machine));
    int error;

    if (!machine) {
        return -ENOMEM;
    }
    machine->fd = -1;
    machine->loop = loop;
    deadline_init(&machine->retry, on_retry);
    /* First to be told of changes, then to read: nothing is missed. */
    error = open_netlink(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, SOCK_NONBLOCK, &machine->fd);
    if (!error) {
        error = machine_addrs_read(&machine->addrs);
    }
    if (!error) {
        error = loop_watch_new(loop, machine->fd, LOOP_READ, on_change, machine, &machine->watch);
    }
    if (error) {
        machine_free(machine);
        return error;
    }
    *ret = machine;
    return 0;
}

void machine_free(struct machine *machine)
{
    if (!machine) {
        return;
    }
    deadline_disarm(&machine->retry);
    loop_watch_free(machine->watch);
    if (machine->fd >= 0) {
        (void)close(machine->fd);
    }
    machine_addrs_free(machine->addrs);
    mem_free(machine);
}

const struct machine_addrs *machine_addrs_now(const struct machine *machine)
{
    return machine->addrs;
}
