// SPDX-License-Identifier: MIT
#include "resolve/dns_channel.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "io/loop.h"

/* ares_query, which every supported version has, 1.28 deprecated in favour of a call that 1.18
 * lacks. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define DNS_PORT 53
#define EDNS_UDP_BYTES 1232 /* no fragments (DNS flag day 2020) */
#define FIRST_WAIT_MIN_MS 50
#define FIRST_WAIT_MAX_MS 1500
/* 1.32 and later start from a server's usual latency instead of the given wait, and so need more
 * rounds to fill the same time. */
#define MORE_ROUNDS (ARES_VERSION >= 0x012000 ? 2 : 0)

struct dns_socket {
    struct list node;
    int fd;
    struct loop_watch *watch; /* owned */
};

static int errno_of(int ares_status)
{
    switch (ares_status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* ------------------------------------------------------------------ sockets */

static struct dns_socket *socket_find(struct dns_channel *channel, int fd)
{
    LIST_FOR_EACH (node, tmp, &channel->sockets) {
        struct dns_socket *sock = LIST_ITEM(node, struct dns_socket, node);

        if (sock->fd == fd) {
            return sock;
        }
    }
    return NULL;
}

static void socket_free(struct dns_socket *sock)
{
    list_remove(&sock->node);
    loop_watch_free(sock->watch);
    mem_free(sock);
}

/* The channel may be gone on return. */
static void on_ready(void *arg, int fd, unsigned what)
{
    struct dns_channel *channel = arg;

    ares_process_fd(channel->ares, what & LOOP_READ ? fd : ARES_SOCKET_BAD,
                    what & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
    channel->processed(channel);
}

static void socket_new(struct dns_channel *channel, int fd, unsigned what)
{
    struct dns_socket *sock = mem_zalloc(sizeof(*sock));

    if (!sock || loop_watch_new(channel->loop, fd, what, on_ready, channel, &sock->watch) < 0) {
        mem_free(sock);
        channel->deaf = true;
        return;
    }
    sock->fd = fd;
    list_push_back(&channel->sockets, &sock->node);
}

/* The library tells what it waits for; neither: the descriptor is about to be closed. */
static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns_channel *channel = arg;
    struct dns_socket *sock = socket_find(channel, fd);
    unsigned what = (readable ? (unsigned)LOOP_READ : 0) | (writable ? (unsigned)LOOP_WRITE : 0);

    if (what == 0) {
        if (sock) {
            socket_free(sock);
        }
    } else if (!sock) {
        socket_new(channel, fd, what);
    } else if (loop_watch_set(sock->watch, what) < 0) {
        socket_free(sock);
        channel->deaf = true;
    }
}

/* ------------------------------------------------------------------ the library's channel */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

/* Newer versions do not survive that every one of their own allocations fails in turn (1.34.5:
 * NULL read in ares_process_fds), so theirs are not part of that test. */
static void library_init(void)
{
#if ARES_VERSION < 0x011e00
    (void)ares_library_init_mem(ARES_LIB_INIT_ALL, mem_alloc, mem_free, mem_realloc);
#else
    (void)ares_library_init(ARES_LIB_INIT_ALL);
#endif
}

struct tries {
    int first_wait_ms;
    int rounds; /* over all servers */
};

/* Waits double each round, and the library shortens each by up to 7/16 at random: what it tries
 * shall fill the time even so, in three rounds, or in more when the first wait would be too long
 * for one lost packet. */
static struct tries plan_tries(uint64_t timeout_ms, size_t server_count)
{
    uint64_t wait_ms = timeout_ms * 16 / 9 / (7 * server_count);
    int rounds = 3;

    wait_ms = MIN(MAX(wait_ms, FIRST_WAIT_MIN_MS), FIRST_WAIT_MAX_MS);
    while (rounds < 12 && server_count * wait_ms * ((1U << rounds) - 1) * 9 / 16 < timeout_ms) {
        rounds++;
    }
    return (struct tries){.first_wait_ms = (int)wait_ms, .rounds = rounds + MORE_ROUNDS};
}

static int set_servers(ares_channel ares, const struct dns_channel *channel)
{
    const struct addr *servers = channel->servers;
    size_t count = channel->server_count;
    struct ares_addr_port_node *nodes = mem_zalloc(count * sizeof(*nodes));
    int r;

    if (!nodes) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_ip6 = servers[i].kind == ADDR_IP6;

        nodes[i].next = i + 1 < count ? &nodes[i + 1] : NULL;
        nodes[i].family = is_ip6 ? AF_INET6 : AF_INET;
        nodes[i].udp_port = nodes[i].tcp_port = servers[i].port ? servers[i].port : DNS_PORT;
        memcpy(&nodes[i].addr, servers[i].bytes, is_ip6 ? 16 : 4);
    }
    r = errno_of(ares_set_servers_ports(ares, nodes));
    mem_free(nodes);
    return r;
}

/* Nothing is read from the system: servers are set by us, hosts and search lists are not the
 * library's. */
static int open_ares(struct dns_channel *channel)
{
    struct tries tries = plan_tries(channel->timeout_ms, channel->server_count);
    char lookups[] = "b";
    char no_file[] = "/dev/null";
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_DOMAINS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ | ARES_OPT_NOROTATE |
               ARES_OPT_RESOLVCONF;
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS |
                 (channel->asks_next ? 0 : ARES_FLAG_NOCHECKRESP),
        .timeout = tries.first_wait_ms,
        .tries = tries.rounds,
        .lookups = lookups,
        .sock_state_cb = on_sock_state,
        .sock_state_cb_data = channel,
        .ednspsz = EDNS_UDP_BYTES,
        .resolvconf_path = no_file,
    };
    ares_channel ares;
    int r;

#ifdef ARES_OPT_QUERY_CACHE
    options.qcache_max_ttl = 0; /* the cache is ours, with our limits */
    mask |= ARES_OPT_QUERY_CACHE;
#endif
#ifdef ARES_OPT_UDP_MAX_QUERIES
    options.udp_max_queries = 100; /* then a new socket: a new port to guess */
    mask |= ARES_OPT_UDP_MAX_QUERIES;
#endif
#ifdef ARES_OPT_MAXTIMEOUTMS
    options.maxtimeout = (int)MIN(channel->timeout_ms, INT_MAX); /* nobody waits for longer */
    mask |= ARES_OPT_MAXTIMEOUTMS;
#endif
    r = errno_of(ares_init_options(&ares, &options, mask));
    if (r < 0) {
        return r;
    }
    r = set_servers(ares, channel);
    if (r < 0) {
        ares_destroy(ares);
        return r;
    }
    channel->ares = ares;
    return 0;
}

int dns_channel_new(const struct dns_channel_options *options, struct dns_channel **ret)
{
    size_t size = options->server_count * sizeof(*options->servers);
    struct dns_channel *channel = mem_zalloc(sizeof(*channel) + size);
    int r;

    if (!channel) {
        return -ENOMEM;
    }
    (void)pthread_once(&library_once, library_init);
    channel->loop = options->loop;
    channel->processed = options->processed;
    channel->timeout_ms = options->timeout_ms;
    channel->asks_next = options->asks_next;
    channel->server_count = options->server_count;
    memcpy(channel->servers, options->servers, size);
    list_init(&channel->node);
    list_init(&channel->sockets);
    list_init(&channel->questions);
    r = open_ares(channel);
    if (r < 0) {
        mem_free(channel);
        return r;
    }
    *ret = channel;
    return 0;
}

/* Questions still open end with ARES_EDESTRUCTION. */
static void close_ares(struct dns_channel *channel, ares_channel ares)
{
    ares_destroy(ares);
    while (!list_empty(&channel->sockets)) {
        socket_free(LIST_FIRST(&channel->sockets, struct dns_socket, node));
    }
}

/* Not ares_cancel, unless there is no memory: it would end a probe of a server that has failed,
 * too, and 1.34 then waits for that probe's end for good. */
void dns_channel_renew(struct dns_channel *channel)
{
    ares_channel former = channel->ares;

    if (open_ares(channel) == 0) {
        close_ares(channel, former);
    } else {
        ares_cancel(former);
    }
}

void dns_channel_free(struct dns_channel *channel)
{
    close_ares(channel, channel->ares);
    list_remove(&channel->node);
    mem_free(channel);
}

/* ------------------------------------------------------------------ asking */

/* Tries the sockets that nobody watches, without knowing whether they are ready. */
static void try_unwatched(struct dns_channel *channel)
{
    ares_socket_t fds[ARES_GETSOCK_MAXNUM];
    unsigned wanted = (unsigned)ares_getsock(channel->ares, fds, ARES_GETSOCK_MAXNUM);

    channel->deaf = false;
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        bool reads = wanted >> i & 1;
        bool writes = wanted >> (i + ARES_GETSOCK_MAXNUM) & 1;

        if ((reads || writes) && !socket_find(channel, fds[i])) {
            channel->deaf = true;
            ares_process_fd(channel->ares, reads ? fds[i] : ARES_SOCKET_BAD,
                            writes ? fds[i] : ARES_SOCKET_BAD);
        }
    }
}

void dns_channel_tick(struct dns_channel *channel)
{
    ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (channel->deaf) {
        try_unwatched(channel);
    }
}

void dns_channel_ask(struct dns_channel *channel, const char *name, enum dns_family family,
                     dns_channel_answer_fn *answer, void *arg)
{
    ares_query(channel->ares, name, ns_c_in, family == DNS_A ? ns_t_a : ns_t_aaaa, answer, arg);
}
