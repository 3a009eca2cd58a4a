// SPDX-License-Identifier: MIT

/* What machine.c makes tables of, asked of the kernel by netlink. */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"
#include "log/log.h"
#include "policy/machine.h"

#define DATAGRAM_MAX_BYTES 32768 /* the kernel fills no larger ones into a dump */
#define DUMP_TRIES 10            /* a dump that a change interrupts is asked for again */
#define RETRY_MS 1000
#define ERROR_MAX 256

/* What there is to be told of. */
#define CHANGES (RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE)

/* ---- Asking the kernel ---- */

struct found {
    struct addr_net *items; /* owned */
    size_t count;
    size_t cap;
    bool is_out; /* memory is */
};

static void add_found(void *arg, const struct addr_net *net)
{
    struct found *found = arg;

    if (found->count == found->cap) {
        size_t cap = found->cap > 0 ? found->cap * 2 : 16;
        struct addr_net *grown = mem_realloc_array(found->items, cap, sizeof(*grown));

        if (!grown) {
            found->is_out = true;
            return;
        }
        found->items = grown;
        found->cap = cap;
    }
    found->items[found->count++] = *net;
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

/* Everything that is of a type and a family. A kernel that knows strict checking (5.0) leaves out
 * other tables by itself, as large as they may be. */
static int ask(int fd, unsigned short type, unsigned char family)
{
    const int on = 1;
    struct {
        struct nlmsghdr head;
        union {
            struct ifaddrmsg address;
            struct rtmsg route;
        } body;
    } request = {.head = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};

    if (type == RTM_GETROUTE) {
        (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
        request.body.route.rtm_family = family;
        request.body.route.rtm_table = RT_TABLE_LOCAL;
        request.head.nlmsg_len = NLMSG_LENGTH(sizeof(request.body.route));
    } else {
        request.body.address.ifa_family = family;
        request.head.nlmsg_len = NLMSG_LENGTH(sizeof(request.body.address));
    }
    return send(fd, &request, request.head.nlmsg_len, 0) == (ssize_t)request.head.nlmsg_len
               ? 0
               : -errno;
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

static int dump(int fd, unsigned short type, unsigned char family, char *buf, struct found *found)
{
    int error = ask(fd, type, family);
    bool done = false;

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
static int dump_once(unsigned short type, unsigned char family, char *buf, struct found *found)
{
    const struct timeval patience = {.tv_sec = 1};
    size_t before = found->count;
    int fd = -1;
    int error = open_netlink(0, 0, &fd);

    if (error) {
        return error;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    error = dump(fd, type, family, buf, found);
    (void)close(fd);
    if (error) {
        found->count = before;
    }
    return error;
}

static int dump_whole(unsigned short type, unsigned char family, char *buf, struct found *found)
{
    int error = -EAGAIN;

    for (int i = 0; i < DUMP_TRIES && error == -EAGAIN; i++) {
        error = dump_once(type, family, buf, found);
    }
    return error;
}

/* A kernel without a family has no such table. */
static int dump_routes(unsigned char family, char *buf, struct found *found)
{
    int error = dump_whole(RTM_GETROUTE, family, buf, found);

    return error == -ENOENT || error == -EOPNOTSUPP ? 0 : error;
}

int machine_addrs_read(struct machine_addrs **ret)
{
    struct found found = {0};
    char *buf = mem_alloc(DATAGRAM_MAX_BYTES);
    int error = buf ? dump_whole(RTM_GETADDR, AF_UNSPEC, buf, &found) : -ENOMEM;

    if (!error) {
        error = dump_routes(AF_INET, buf, &found);
    }
    if (!error) {
        error = dump_routes(AF_INET6, buf, &found);
    }
    if (!error) {
        error = machine_addrs_new(found.items, found.count, ret);
    }
    mem_free(found.items);
    mem_free(buf);
    return error;
}

static const char *error_text(int error)
{
    switch (error) {
    case -EAFNOSUPPORT:
    case -EPERM:
    case -EACCES:
        return "no netlink socket may be opened; where a service manager or a sandbox restricts"
               " address families, AF_NETLINK must be among them";
    case -ETIMEDOUT:
        return "the kernel does not answer";
    default:
        return strerror(-error);
    }
}

void machine_describe_error(int error, char *buf, size_t cap)
{
    (void)snprintf(buf, cap, "this machine's addresses cannot be read: %s", error_text(error));
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
    char message[ERROR_MAX];

    if (error) {
        machine_describe_error(error, message, sizeof(message));
        log_event(LOG_WARNING, "machine", "%s", message);
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

/* Of routes, only those that could be of this machine are told: a router's come by the thousand. */
static int leave_out_other_routes(int fd)
{
    enum { TYPE = offsetof(struct nlmsghdr, nlmsg_type) };
    enum { ROUTE_TYPE = NLMSG_HDRLEN + offsetof(struct rtmsg, rtm_type) };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, TYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ROUTE_TYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTN_LOCAL, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTN_ANYCAST, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0 ? 0
                                                                                        : -errno;
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
    error = open_netlink(CHANGES, SOCK_NONBLOCK, &machine->fd);
    if (!error) {
        error = leave_out_other_routes(machine->fd);
    }
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
