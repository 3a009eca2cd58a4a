// SPDX-License-Identifier: MIT
#include "resolve/dns_cares.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "log/log.h"
#include "resolve/dns_reply.h"
#include "resolve/resolv_conf.h"
#include "resolve/watched_file.h"

/* ares_query and ares_parse_*_reply are the calls that every supported version has; 1.28 deprecated
 * them in favour of calls that 1.18 lacks. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define DNS_PORT 53
#define EDNS_UDP_BYTES 1232 /* no fragments (DNS flag day 2020) */
#define TICK_MS 50 /* how often the library may look at its clock while questions are open */
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

struct dns_channel {
    struct list node; /* in dns_cares.channels */
    struct dns_cares *dns;
    ares_channel ares; /* owned */
    bool asks_next;
    bool deaf; /* some socket is not watched for want of memory: every tick looks at it */
    struct list sockets;
    struct list questions; /* in flight and without an answer */
    size_t awaited;        /* of these: not dropped */
    size_t in_flight;
    size_t server_count;
    struct addr servers[];
};

enum question_state {
    QUESTION_OPEN,
    QUESTION_FINISHED,   /* has its answer; the library may still work on it */
    QUESTION_HANDED_OUT, /* only the library has it */
};

struct dns_question {
    enum question_state state;
    struct list node;            /* in its channel's questions, then in dns_cares.finished */
    struct dns_channel *channel; /* NULL once the library has done with it */
    enum dns_family family;
    dns_answer_fn *answer; /* NULL: dropped */
    void *arg;
    struct dns_answer result;
    char name[];
};

struct dns_cares {
    struct loop *loop;
    struct list channels;
    struct dns_channel
        *current; /* new questions go here; those that are neither of these two end */
    /* Version 1.18 asks the next server after SERVFAIL or REFUSED, as it should, but when all have
     * said so it tells the same as when none could be reached. Such a question is asked once more
     * here, where the first server's word counts. With a single server the same as current. */
    struct dns_channel *last_word;
    size_t in_flight;
    struct list finished; /* questions whose answer is not handed out yet */
    struct task hand_out;
    struct deadline tick;
    uint64_t timeout_ms;
    bool follows; /* resolv.conf */
    struct watched_file file;
    struct resolv_conf resolv_conf;
};

const char *dns_cares_version(void)
{
    return ares_version(NULL);
}

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

static void on_ready(void *arg, int fd, unsigned what);

static void socket_new(struct dns_channel *channel, int fd, unsigned what)
{
    struct dns_socket *sock = mem_zalloc(sizeof(*sock));

    if (!sock ||
        loop_watch_new(channel->dns->loop, fd, what, on_ready, channel, &sock->watch) < 0) {
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

/* ------------------------------------------------------------------ channels */

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
    struct tries tries = plan_tries(channel->dns->timeout_ms, channel->server_count);
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
    options.maxtimeout = (int)MIN(channel->dns->timeout_ms, INT_MAX); /* nobody waits for longer */
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

/* asks_next: after a server that failed or refused the next one is asked. */
static int channel_new(struct dns_cares *dns, const struct addr *servers, size_t count,
                       bool asks_next, struct dns_channel **ret)
{
    struct dns_channel *channel = mem_zalloc(sizeof(*channel) + count * sizeof(*servers));
    int r;

    if (!channel) {
        return -ENOMEM;
    }
    channel->dns = dns;
    channel->asks_next = asks_next;
    channel->server_count = count;
    memcpy(channel->servers, servers, count * sizeof(*servers));
    list_init(&channel->sockets);
    list_init(&channel->questions);
    r = open_ares(channel);
    if (r < 0) {
        mem_free(channel);
        return r;
    }
    list_push_back(&dns->channels, &channel->node);
    *ret = channel;
    return 0;
}

/* Questions still open end in on_answer with ARES_EDESTRUCTION. */
static void close_ares(struct dns_channel *channel, ares_channel ares)
{
    ares_destroy(ares);
    while (!list_empty(&channel->sockets)) {
        socket_free(LIST_FIRST(&channel->sockets, struct dns_socket, node));
    }
}

/* Not ares_cancel, unless there is no memory: it would end a probe of a server that has failed,
 * too, and 1.34 then waits for that probe's end for good. */
static void channel_renew(struct dns_channel *channel)
{
    ares_channel former = channel->ares;

    if (open_ares(channel) == 0) {
        close_ares(channel, former);
    } else {
        ares_cancel(former);
    }
}

static void channel_free(struct dns_channel *channel)
{
    close_ares(channel, channel->ares);
    list_remove(&channel->node);
    mem_free(channel);
}

/* All or nothing. The channels that were in use until now are left to reap_channels. */
static int use_servers(struct dns_cares *dns, const struct addr *servers, size_t count)
{
    struct dns_channel *current = NULL;
    struct dns_channel *last_word = NULL;
    int r = channel_new(dns, servers, count, count > 1, &current);

    if (r < 0) {
        return r;
    }
    last_word = current;
    if (count > 1) {
        r = channel_new(dns, servers, count, false, &last_word);
    }
    if (r < 0) {
        channel_free(current);
        return r;
    }
    dns->current = current;
    dns->last_word = last_word;
    return 0;
}

static void reap_channels(struct dns_cares *dns)
{
    LIST_FOR_EACH (node, tmp, &dns->channels) {
        struct dns_channel *channel = LIST_ITEM(node, struct dns_channel, node);

        if (channel != dns->current && channel != dns->last_word && channel->in_flight == 0) {
            channel_free(channel);
        }
    }
}

/* ------------------------------------------------------------------ answers */

static void on_answer(void *arg, int status, int timeouts, unsigned char *reply, int len);

static void send_question(struct dns_question *question, struct dns_channel *channel)
{
    question->channel = channel;
    channel->in_flight++;
    channel->awaited++;
    list_push_back(&channel->questions, &question->node);
    ares_query(channel->ares, question->name, ns_c_in,
               question->family == DNS_A ? ns_t_a : ns_t_aaaa, on_answer, question);
}

/* It leaves its channel's questions. */
static void take_out(struct dns_question *question, struct dns_channel *channel)
{
    list_remove(&question->node);
    channel->awaited -= question->answer ? 1 : 0;
}

static void finish(struct dns_question *question, struct dns_channel *channel, int status)
{
    struct dns_cares *dns = channel->dns;
    struct dns_answer *result = &question->result;

    result->status = dns_reply_status(status);
    if (result->status == RESOLVE_OK && result->addr_count == 0) {
        result->status = RESOLVE_NODATA;
    }
    question->state = QUESTION_FINISHED;
    take_out(question, channel);
    list_push_back(&dns->finished, &question->node);
    loop_defer(dns->loop, &dns->hand_out);
}

/* No server could be reached. The questions that share the socket fail too: the kernel tells of a
 * closed port once, to whoever uses the socket next, and 1.18 lets the others wait for their
 * timeouts. */
static void finish_all(struct dns_channel *channel)
{
    while (!list_empty(&channel->questions)) {
        finish(LIST_FIRST(&channel->questions, struct dns_question, node), channel,
               ARES_ECONNREFUSED);
    }
}

static void unreachable(struct dns_channel *channel)
{
    struct dns_cares *dns = channel->dns;

    finish_all(channel);
    if (channel == dns->last_word) {
        finish_all(dns->current);
    }
}

/* An answer to an open question. */
static void on_open_answer(struct dns_question *question, struct dns_channel *channel, int status,
                           const unsigned char *reply, int len)
{
    struct dns_cares *dns = channel->dns;

    if (status == ARES_ECONNREFUSED && channel->asks_next && question->answer) {
        take_out(question, channel);
        send_question(question, dns->last_word);
        return;
    }
    if (status == ARES_SUCCESS) {
        status = dns_reply_read(question->family, reply, len, &question->result);
    }
    dns->in_flight--;
    finish(question, channel, status);
    if (status == ARES_ECONNREFUSED) {
        unreachable(channel);
    }
}

/* From inside the library: the answer is only written down. */
static void on_answer(void *arg, int status, int timeouts, unsigned char *reply, int len)
{
    struct dns_question *question = arg;
    struct dns_channel *channel = question->channel;

    (void)timeouts;
    channel->in_flight--;
    question->channel = NULL;
    if (question->state == QUESTION_OPEN && status != ARES_EDESTRUCTION) {
        on_open_answer(question, channel, status, reply, len);
        return;
    }
    channel->dns->in_flight--;
    if (question->state == QUESTION_OPEN) {
        take_out(question, channel);
    }
    if (question->state != QUESTION_FINISHED) {
        mem_free(question);
    }
}

static void arm_tick(struct dns_cares *dns)
{
    if (dns->in_flight > 0 && !deadline_armed(&dns->tick)) {
        deadline_arm(&dns->tick, dns->loop, TICK_MS);
    }
}

/* The question is gone, or the library's, before anybody hears of it. */
static void hand_out(struct dns_question *question)
{
    struct dns_answer result = question->result;
    dns_answer_fn *answer = question->answer;
    void *arg = question->arg;

    list_remove(&question->node);
    if (question->channel) {
        question->state = QUESTION_HANDED_OUT;
    } else {
        mem_free(question);
    }
    if (answer) {
        answer(arg, &result);
    }
}

/* Where nobody waits for an answer the library tries no more: left alone, 1.34 goes on for many
 * times the time it was given, and has a TCP connection when all is over. */
static void calm_channels(struct dns_cares *dns)
{
    LIST_FOR_EACH (node, tmp, &dns->channels) {
        struct dns_channel *channel = LIST_ITEM(node, struct dns_channel, node);

        if (channel->awaited == 0 && channel->in_flight > 0) {
            channel_renew(channel);
        }
    }
}

/* Never on the library's stack, so that callbacks may ask and old channels may go. */
static void hand_out_answers(struct dns_cares *dns)
{
    while (!list_empty(&dns->finished)) {
        hand_out(LIST_FIRST(&dns->finished, struct dns_question, node));
    }
    calm_channels(dns);
    reap_channels(dns);
    arm_tick(dns);
}

static void on_hand_out(struct task *task)
{
    hand_out_answers(CONTAINER_OF(task, struct dns_cares, hand_out));
}

/* The channel may be gone on return. */
static void on_ready(void *arg, int fd, unsigned what)
{
    struct dns_channel *channel = arg;
    struct dns_cares *dns = channel->dns;

    ares_process_fd(channel->ares, what & LOOP_READ ? fd : ARES_SOCKET_BAD,
                    what & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
    hand_out_answers(dns);
}

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

static void on_tick(struct deadline *deadline)
{
    struct dns_cares *dns = CONTAINER_OF(deadline, struct dns_cares, tick);

    LIST_FOR_EACH (node, tmp, &dns->channels) {
        struct dns_channel *channel = LIST_ITEM(node, struct dns_channel, node);

        ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        if (channel->deaf) {
            try_unwatched(channel);
        }
    }
    hand_out_answers(dns);
}

/* ------------------------------------------------------------------ resolv.conf */

/* When the new servers cannot be used the old ones stay. */
static void follow_resolv_conf(struct dns_cares *dns)
{
    struct resolv_conf conf;
    int r;

    if (!dns->follows || !watched_file_changed(&dns->file, loop_now_ms(dns->loop))) {
        return;
    }
    r = resolv_conf_read(&dns->file, &conf);
    if (r == 0 && resolv_conf_eq(&conf, &dns->resolv_conf)) {
        return;
    }
    if (r == 0) {
        r = use_servers(dns, conf.servers, conf.count);
    }
    if (r < 0) {
        watched_file_failed(&dns->file);
        log_event(LOG_DEBUG, "dns", "%s: errno %d, the old servers stay", dns->file.path, -r);
        return;
    }
    log_event(LOG_DEBUG, "dns", "%s: %zu servers", dns->file.path, conf.count);
    dns->resolv_conf = conf;
    loop_defer(dns->loop, &dns->hand_out); /* reaps the old ones if they are idle */
}

static int first_channel(struct dns_cares *dns, const struct dns_cares_options *options)
{
    if (options->server_count > 0) {
        return use_servers(dns, options->servers, options->server_count);
    }
    dns->follows = true;
    watched_file_init(&dns->file, options->resolv_conf_path);
    (void)watched_file_changed(&dns->file, loop_now_ms(dns->loop));
    if (resolv_conf_read(&dns->file, &dns->resolv_conf) < 0) {
        watched_file_failed(&dns->file);
        resolv_conf_parse(STR(""), &dns->resolv_conf);
    }
    return use_servers(dns, dns->resolv_conf.servers, dns->resolv_conf.count);
}

/* ------------------------------------------------------------------ interface */

int dns_cares_new(struct loop *loop, const struct dns_cares_options *options,
                  struct dns_cares **ret)
{
    struct dns_cares *dns = mem_zalloc(sizeof(*dns));
    int r;

    if (!dns) {
        return -ENOMEM;
    }
    (void)pthread_once(&library_once, library_init);
    dns->loop = loop;
    dns->timeout_ms = options->timeout_ms;
    list_init(&dns->channels);
    list_init(&dns->finished);
    task_init(&dns->hand_out, on_hand_out);
    deadline_init(&dns->tick, on_tick);
    r = first_channel(dns, options);
    if (r < 0) {
        mem_free(dns);
        return r;
    }
    *ret = dns;
    return 0;
}

void dns_cares_free(struct dns_cares *dns)
{
    if (!dns) {
        return;
    }
    while (!list_empty(&dns->channels)) {
        channel_free(LIST_FIRST(&dns->channels, struct dns_channel, node));
    }
    while (!list_empty(&dns->finished)) {
        struct dns_question *question = LIST_FIRST(&dns->finished, struct dns_question, node);

        list_remove(&question->node);
        mem_free(question);
    }
    ASSERT(dns->in_flight == 0);
    task_cancel(&dns->hand_out);
    deadline_disarm(&dns->tick);
    mem_free(dns);
}

int dns_cares_ask(struct dns_cares *dns, const char *name, enum dns_family family,
                  dns_answer_fn *answer, void *arg, struct dns_question **ret)
{
    size_t size = strlen(name) + 1;
    struct dns_question *question;

    follow_resolv_conf(dns);
    if (dns->in_flight >= DNS_MAX_IN_FLIGHT) {
        return -ENOBUFS;
    }
    question = mem_zalloc(sizeof(*question) + size);
    if (!question) {
        return -ENOMEM;
    }
    list_init(&question->node);
    question->family = family;
    question->answer = answer;
    question->arg = arg;
    memcpy(question->name, name, size);
    dns->in_flight++;
    *ret = question; /* before the call: it may end the question at once, but never hands it out */
    send_question(question, dns->current);
    arm_tick(dns);
    return 0;
}

void dns_question_drop(struct dns_question *question)
{
    struct dns_channel *channel = question->channel;

    if (question->state == QUESTION_OPEN && --channel->awaited == 0) {
        loop_defer(channel->dns->loop, &channel->dns->hand_out);
    }
    question->answer = NULL;
}
