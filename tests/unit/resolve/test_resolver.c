// SPDX-License-Identifier: MIT
/* The resolver with c-ares on a real loop; the name server answers on the same loop. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "resolve/dns_answer.h"
#include "resolve/resolver.h"

#define DROP (-1)
#define GUARD_MS 20000

/* ------------------------------------------------------------------ the name server */

/* What it says of one name: a delay for each family (DROP: nothing), and an rcode or addresses. */
struct rule {
    const char *name;
    int delay_ms[DNS_FAMILIES];
    unsigned char rcode[DNS_FAMILIES];
    unsigned char addr_count[DNS_FAMILIES];
    uint32_t ttl_s;
};

struct pending_reply {
    struct deadline deadline;
    struct list node;
    struct sockaddr_storage peer;
    socklen_t peer_len;
    size_t len;
    unsigned char data[1500];
};

static struct loop *loop;
static struct resolver *resolver;
static const struct rule *rules; /* ended by a name NULL */
static int server_fd;
static struct addr server_addr;
static struct loop_watch *server_watch;
static struct list replies;
static unsigned asked[DNS_FAMILIES];

static size_t put_addrs(unsigned char *out, enum dns_family family, const struct rule *rule)
{
    unsigned char size = family == DNS_A ? 4 : 16;
    unsigned char *at = out;
    uint32_t ttl = htonl(rule->ttl_s);

    for (unsigned char i = 1; i <= rule->addr_count[family]; i++) {
        static const unsigned char front[] = {0xc0, 12}; /* the question's name */

        memcpy(at, front, 2);
        memcpy(at + 2, (unsigned char[]){0, family == DNS_A ? 1 : 28, 0, 1}, 4);
        memcpy(at + 6, &ttl, 4);
        memcpy(at + 10, (unsigned char[]){0, size}, 2);
        memset(at + 12, 0, size);
        at[12] = family == DNS_A ? 192 : 0x20;
        at[12 + size - 1] = i;
        at += 12 + size;
    }
    return (size_t)(at - out);
}

static void reply_free(struct pending_reply *reply)
{
    list_remove(&reply->node);
    deadline_disarm(&reply->deadline);
    mem_free(reply);
}

static void send_reply(struct deadline *deadline)
{
    struct pending_reply *reply = CONTAINER_OF(deadline, struct pending_reply, deadline);

    (void)sendto(server_fd, reply->data, reply->len, 0, (struct sockaddr *)&reply->peer,
                 reply->peer_len);
    reply_free(reply);
}

/* The dotted name of the question; returns where it ends. */
static size_t read_name(const unsigned char *query, char *name)
{
    size_t at = 12;
    size_t len = 0;

    while (query[at] != 0) {
        memcpy(name + len, query + at + 1, query[at]);
        len += query[at];
        at += 1U + query[at];
        name[len++] = '.';
    }
    name[len > 0 ? len - 1 : 0] = '\0';
    return at + 1;
}

static const struct rule *find_rule(const char *name)
{
    const struct rule *rule = rules;

    while (rule->name && strcmp(rule->name, name) != 0 && strcmp(rule->name, "*") != 0) {
        rule++;
    }
    return rule->name ? rule : NULL;
}

static void answer_query(struct pending_reply *reply)
{
    char name[512];
    size_t end = read_name(reply->data, name);
    enum dns_family family = reply->data[end + 1] == 28 ? DNS_AAAA : DNS_A;
    const struct rule *rule = find_rule(name);

    asked[family]++;
    cr_assert_not_null(rule, "asked for %s", name);
    end += 4;
    reply->data[2] = 0x81;
    reply->data[3] = (unsigned char)(0x80 | rule->rcode[family]);
    memcpy(reply->data + 6, (unsigned char[]){0, rule->addr_count[family], 0, 0, 0, 0}, 6);
    reply->len = end + put_addrs(reply->data + end, family, rule);
    if (rule->delay_ms[family] == DROP) {
        reply_free(reply);
    } else if (rule->delay_ms[family] == 0) {
        send_reply(&reply->deadline);
    } else {
        deadline_arm(&reply->deadline, loop, (uint64_t)rule->delay_ms[family]);
    }
}

static void on_query(void *arg, int fd, unsigned what)
{
    (void)arg;
    (void)what;
    for (;;) {
        struct pending_reply *reply = mem_zalloc(sizeof(*reply));
        ssize_t got;

        reply->peer_len = sizeof(reply->peer);
        got = recvfrom(fd, reply->data, 512, MSG_DONTWAIT, (struct sockaddr *)&reply->peer,
                       &reply->peer_len);
        if (got <= 0) {
            mem_free(reply);
            return;
        }
        deadline_init(&reply->deadline, send_reply);
        list_push_back(&replies, &reply->node);
        answer_query(reply);
    }
}

/* A UDP socket on the loopback and its address. */
static int open_socket(struct addr *ret)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *ret = addr_ip4(127, 0, 0, 1, ntohs(sa.sin_port));
    return fd;
}

static void serve(int fd)
{
    server_fd = fd;
    cr_assert_eq(loop_watch_new(loop, server_fd, LOOP_READ, on_query, NULL, &server_watch), 0);
}

/* ------------------------------------------------------------------ waiters */

struct report {
    enum resolve_status status;
    bool done, from_cache;
    size_t addr_count;
    enum addr_kind first_kind;
    uint64_t at_ms; /* since the question */
};

struct waiter {
    struct resolve_query *query;
    struct report reports[3];
    size_t count;
    uint64_t asked_ms;
    void (*then)(struct waiter *waiter); /* in the callback, at each report */
};

static struct waiter second; /* asks while or after the first is told */
static unsigned left;        /* waiters to hear of before the loop stops */

static void on_answer(void *arg, const struct resolve_result *result)
{
    struct waiter *waiter = arg;

    cr_assert_lt(waiter->count, 3);
    waiter->reports[waiter->count++] = (struct report){
        .status = result->status,
        .done = result->done,
        .from_cache = result->from_cache,
        .addr_count = result->addr_count,
        .first_kind = result->addr_count ? result->addrs[0].kind : ADDR_NONE,
        .at_ms = clock_mono_ms() - waiter->asked_ms,
    };
    if (result->done) {
        waiter->query = NULL;
        if (--left == 0) {
            loop_stop(loop);
        }
    }
    if (waiter->then) {
        waiter->then(waiter);
    }
}

static const struct resolve_events events = {.answer = on_answer};

static struct host host_of(const char *name)
{
    struct host host;

    cr_assert_eq(host_parse(str_of(name), &host), 0);
    return host;
}

static int ask(struct waiter *waiter, const char *name)
{
    struct host host = host_of(name);

    left++;
    waiter->asked_ms = clock_mono_ms();
    return resolver_ask(resolver, &host, &events, waiter, &waiter->query);
}

static void cancel(struct waiter *waiter)
{
    resolver_cancel(waiter->query);
    waiter->query = NULL;
    left--;
}

static void on_guard(struct deadline *deadline)
{
    (void)deadline;
    cr_assert_fail("no answer");
}

static void on_stop(struct deadline *deadline)
{
    (void)deadline;
    loop_stop(loop);
}

/* A loop that was stopped is not run again: each test has one run, ended by the last answer or
 * after a time. */
static void run(uint64_t stop_after_ms)
{
    struct deadline guard;
    struct deadline stop;

    deadline_init(&guard, on_guard);
    deadline_init(&stop, on_stop);
    deadline_arm(&guard, loop, GUARD_MS);
    if (stop_after_ms > 0) {
        deadline_arm(&stop, loop, stop_after_ms);
    }
    cr_assert_eq(loop_run(loop), 0);
    deadline_disarm(&guard);
    deadline_disarm(&stop);
}

/* front, if not NULL, stands before our name server in the list. */
static void start_behind(const struct addr *front, const struct rule *table,
                         struct resolver_options options)
{
    struct addr servers[2];
    size_t count = 0;

    rules = table;
    list_init(&replies);
    cr_assert_eq(loop_new(&loop), 0);
    if (front) {
        servers[count++] = *front;
    }
    serve(open_socket(&server_addr));
    servers[count++] = server_addr;
    options.servers = servers;
    options.server_count = count;
    cr_assert_eq(resolver_new(loop, &options, &resolver), 0);
}

static void start_with(const struct rule *table, struct resolver_options options)
{
    start_behind(NULL, table, options);
}

static struct resolver_options usual(void)
{
    return (struct resolver_options){
        .cache_entries = 100,
        .max_ttl_ms = 3600000,
        .negative_ttl_ms = 5000,
        .want_ip4 = true,
        .want_ip6 = true,
        .timeout_ms = 5000,
    };
}

static void start(const struct rule *table)
{
    start_with(table, usual());
}

static void teardown(void)
{
    resolver_free(resolver);
    while (!list_empty(&replies)) {
        reply_free(LIST_FIRST(&replies, struct pending_reply, node));
    }
    loop_watch_free(server_watch);
    (void)close(server_fd);
    loop_free(loop);
}

TestSuite(resolver, .fini = teardown);

static const struct rule both[] = {
    {.name = "a.example", .addr_count = {2, 1}, .ttl_s = 60},
    {.name = NULL},
};

static const struct rule nothing[] = {{.name = NULL}};

/* ------------------------------------------------------------------ without DNS */

Test(resolver, literals_are_answered_at_once)
{
    struct waiter four = {0};
    struct waiter six = {0};

    start(nothing);
    cr_expect_eq(ask(&four, "192.0.2.1"), 1);
    cr_expect_eq(ask(&six, "[2001:db8::1]"), 1);
    cr_expect_null(four.query);
    cr_expect_eq(four.reports[0].first_kind, ADDR_IP4);
    cr_expect(four.reports[0].done && four.reports[0].from_cache);
    cr_expect_eq(six.reports[0].first_kind, ADDR_IP6);
}

Test(resolver, literal_of_an_unwanted_family_has_no_address)
{
    struct resolver_options options = usual();
    struct waiter six = {0};

    options.want_ip6 = false;
    start_with(nothing, options);
    cr_expect_eq(ask(&six, "[2001:db8::1]"), 1);
    cr_expect_eq(six.reports[0].status, RESOLVE_NODATA);
    cr_expect_eq(six.reports[0].addr_count, 0);
}

Test(resolver, localhost_and_below_is_loopback_without_a_query)
{
    static const char *const names[] = {"localhost", "LocalHost.", "app.localhost"};

    start(nothing);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct waiter waiter = {0};

        cr_expect_eq(ask(&waiter, names[i]), 1);
        cr_expect_eq(waiter.reports[0].addr_count, 2);
        cr_expect_eq(waiter.reports[0].first_kind, ADDR_IP6);
    }
}

Test(resolver, hosts_file_wins_over_dns_in_a_wanted_family_only)
{
    static const struct rule table[] = {
        {.name = "six.example", .addr_count = {1, 1}, .ttl_s = 60},
        {.name = NULL},
    };
    char path[] = "/tmp/viaduct-hosts-XXXXXX";
    struct resolver_options options = usual();
    struct waiter four = {0};
    struct waiter six = {0};
    int fd = mkstemp(path);

    cr_assert_geq(dprintf(fd, "10.0.0.1 four.example localhost\n2001:db8::6 six.example\n"), 0);
    cr_assert_eq(close(fd), 0);
    options.hosts_path = path;
    options.want_ip6 = false;
    start_with(table, options);
    left++; /* so that the first answer does not stop the loop */
    cr_expect_eq(ask(&four, "four.example"), 1);
    left--;
    cr_expect_eq(four.reports[0].status, RESOLVE_OK);
    cr_expect_eq(ask(&six, "six.example"), 0);
    run(0);
    cr_expect_eq(six.reports[0].first_kind, ADDR_IP4);
    cr_expect_eq(asked[DNS_A], 1);
    cr_assert_eq(unlink(path), 0);
}

/* ------------------------------------------------------------------ order of answers */

Test(resolver, both_answers_are_one_report_aaaa_first)
{
    struct waiter waiter = {0};

    start(both);
    cr_expect_eq(ask(&waiter, "a.example"), 0);
    cr_expect_not_null(waiter.query);
    run(0);
    cr_assert_eq(waiter.count, 1);
    cr_expect_eq(waiter.reports[0].addr_count, 3);
    cr_expect_eq(waiter.reports[0].first_kind, ADDR_IP6);
    cr_expect(waiter.reports[0].done && !waiter.reports[0].from_cache);
    cr_expect_eq(asked[DNS_A], 1);
    cr_expect_eq(asked[DNS_AAAA], 1);
}

Test(resolver, aaaa_is_reported_at_once)
{
    static const struct rule table[] = {
        {.name = "a.example", .delay_ms = {[DNS_A] = 200}, .addr_count = {1, 1}, .ttl_s = 60},
        {.name = NULL},
    };
    struct waiter waiter = {0};

    start(table);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_assert_eq(waiter.count, 2);
    cr_expect(!waiter.reports[0].done && waiter.reports[0].first_kind == ADDR_IP6);
    cr_expect_lt(waiter.reports[0].at_ms, 150);
    cr_expect(waiter.reports[1].done && waiter.reports[1].first_kind == ADDR_IP4);
    cr_expect_eq(waiter.reports[1].addr_count, 1, "AAAA is not told twice");
}

Test(resolver, a_is_held_for_an_aaaa_that_comes_soon)
{
    static const struct rule table[] = {
        {.name = "a.example", .delay_ms = {[DNS_AAAA] = 15}, .addr_count = {1, 1}, .ttl_s = 60},
        {.name = NULL},
    };
    struct waiter waiter = {0};

    start(table);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_assert_eq(waiter.count, 1);
    cr_expect_eq(waiter.reports[0].addr_count, 2);
    cr_expect_eq(waiter.reports[0].first_kind, ADDR_IP6);
}

Test(resolver, a_is_let_go_after_the_hold)
{
    static const struct rule table[] = {
        {.name = "a.example", .delay_ms = {[DNS_AAAA] = 400}, .addr_count = {1, 1}, .ttl_s = 60},
        {.name = NULL},
    };
    struct waiter waiter = {0};

    start(table);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_assert_eq(waiter.count, 2);
    cr_expect(!waiter.reports[0].done && waiter.reports[0].first_kind == ADDR_IP4);
    cr_expect_geq(waiter.reports[0].at_ms, 50);
    cr_expect_lt(waiter.reports[0].at_ms, 350);
    cr_expect(waiter.reports[1].done && waiter.reports[1].first_kind == ADDR_IP6);
}

Test(resolver, failure_behind_addresses_does_not_count)
{
    static const struct rule table[] = {
        {.name = "a.example",
         .delay_ms = {[DNS_AAAA] = 150},
         .rcode = {[DNS_AAAA] = 2},
         .addr_count = {1, 0},
         .ttl_s = 60},
        {.name = NULL},
    };
    struct waiter waiter = {0};

    start(table);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_assert_eq(waiter.count, 2);
    cr_expect_eq(waiter.reports[1].status, RESOLVE_OK);
    cr_expect_eq(waiter.reports[1].addr_count, 0);
    cr_expect(waiter.reports[1].done);
}

Test(resolver, asks_for_the_wanted_family_only)
{
    struct resolver_options options = usual();
    struct waiter waiter = {0};

    options.want_ip4 = false;
    start_with(both, options);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_expect_eq(waiter.reports[0].addr_count, 1);
    cr_expect_eq(waiter.reports[0].first_kind, ADDR_IP6);
    cr_expect_eq(asked[DNS_A], 0);
}

/* ------------------------------------------------------------------ failures */

Test(resolver, tells_failures_apart)
{
    static const struct rule table[] = {
        {.name = "nx.example", .rcode = {3, 3}},   {.name = "empty.example"},
        {.name = "fail.example", .rcode = {2, 2}}, {.name = "refused.example", .rcode = {5, 5}},
        {.name = "half.example", .rcode = {0, 2}}, {.name = NULL},
    };
    static const struct {
        const char *name;
        enum resolve_status status;
    } cases[] = {
        {"nx.example", RESOLVE_NXDOMAIN},   {"empty.example", RESOLVE_NODATA},
        {"fail.example", RESOLVE_SERVFAIL}, {"refused.example", RESOLVE_REFUSED},
        {"half.example", RESOLVE_SERVFAIL},
    };
    struct waiter waiters[ARRAY_LEN(cases)] = {0};

    start(table);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(ask(&waiters[i], cases[i].name), 0);
    }
    run(0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(waiters[i].count, 1);
        cr_expect(waiters[i].reports[0].done);
        cr_expect_eq(waiters[i].reports[0].status, cases[i].status, "%s: %s", cases[i].name,
                     resolve_status_text(waiters[i].reports[0].status));
    }
}

Test(resolver, silence_ends_in_a_timeout_on_time)
{
    static const struct rule table[] = {{.name = "a.example", .delay_ms = {DROP, DROP}},
                                        {.name = NULL}};
    struct resolver_options options = usual();
    struct waiter waiter = {0};

    options.timeout_ms = 300;
    start_with(table, options);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_expect_eq(waiter.reports[0].status, RESOLVE_TIMEOUT);
    cr_expect_geq(waiter.reports[0].at_ms, 295);
    cr_expect_lt(waiter.reports[0].at_ms, 1000);
    cr_expect_geq(asked[DNS_A], 2, "asked again within that time");
}

Test(resolver, one_silent_family_does_not_hide_the_other)
{
    static const struct rule table[] = {
        {.name = "a.example", .delay_ms = {[DNS_AAAA] = DROP}, .addr_count = {1, 0}, .ttl_s = 60},
        {.name = NULL},
    };
    struct resolver_options options = usual();
    struct waiter waiter = {0};

    options.timeout_ms = 300;
    start_with(table, options);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_assert_eq(waiter.count, 2);
    cr_expect_eq(waiter.reports[0].addr_count, 1);
    cr_expect_eq(waiter.reports[1].status, RESOLVE_OK);
}

Test(resolver, more_questions_than_the_bound_fail_at_once)
{
    static const struct rule table[] = {{.name = "*", .delay_ms = {DROP, DROP}}, {.name = NULL}};
    static struct waiter waiters[2048];
    struct waiter beyond = {0};
    char name[32];

    start(table);
    for (unsigned i = 0; i < ARRAY_LEN(waiters); i++) {
        (void)snprintf(name, sizeof(name), "n%u.example", i);
        cr_assert_eq(ask(&waiters[i], name), 0);
    }
    cr_expect_eq(ask(&beyond, "beyond.example"), 1);
    cr_expect_eq(beyond.reports[0].status, RESOLVE_NO_MEMORY);
    cr_expect_eq(ask(&beyond, "n7.example"), 0, "joining sends nothing");
}

/* ------------------------------------------------------------------ servers */

Test(resolver, silent_first_server_does_not_eat_the_time)
{
    struct waiter waiter = {0};
    struct addr silent;
    int fd = open_socket(&silent);

    start_behind(&silent, both, usual());
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_expect_eq(waiter.reports[0].status, RESOLVE_OK);
    cr_expect_lt(waiter.reports[0].at_ms, 2500);
    cr_assert_eq(close(fd), 0);
}

Test(resolver, first_server_that_is_down_does_not_matter)
{
    struct waiter waiter = {0};
    struct addr down;

    cr_assert_eq(close(open_socket(&down)), 0);
    start_behind(&down, both, usual());
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_expect_eq(waiter.reports[0].status, RESOLVE_OK);
}

Test(resolver, failure_of_every_server_is_told_as_such)
{
    static const struct rule table[] = {{.name = "a.example", .rcode = {2, 5}}, {.name = NULL}};
    struct resolver_options options = usual();
    struct waiter waiter = {0};
    struct addr servers[2];

    start(table);
    resolver_free(resolver);
    servers[0] = servers[1] = server_addr;
    servers[1].bytes[3] = 2; /* 127.0.0.2 is nobody: what it says does not count */
    options.servers = servers;
    options.server_count = 2;
    cr_assert_eq(resolver_new(loop, &options, &resolver), 0);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_expect_eq(waiter.reports[0].status, RESOLVE_SERVFAIL);
}

Test(resolver, no_server_there_is_an_error_at_once)
{
    struct resolver_options options = usual();
    struct waiter waiter = {0};
    struct addr down;

    cr_assert_eq(close(open_socket(&down)), 0);
    start(nothing);
    resolver_free(resolver);
    options.servers = &down;
    options.server_count = 1;
    cr_assert_eq(resolver_new(loop, &options, &resolver), 0);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(0);
    cr_expect_eq(waiter.reports[0].status, RESOLVE_ERROR);
    cr_expect_lt(waiter.reports[0].at_ms, 1000);
}

static int open_dns_port(uint8_t last)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET,
        .sin_port = htons(53),
        .sin_addr.s_addr = htonl(0x7f000000U | last),
    };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static char resolv_conf_path[] = "/tmp/viaduct-resolv-XXXXXX";

static void write_resolv_conf(const char *content)
{
    FILE *file = fopen(resolv_conf_path, "w");

    cr_assert_not_null(file);
    cr_assert_geq(fputs(content, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void ask_second(struct deadline *deadline)
{
    (void)deadline;
    cr_expect_eq(ask(&second, "a.example"), 0);
    left--; /* counted from the start */
}

Test(resolver, follows_resolv_conf_and_lets_old_questions_end)
{
    struct resolver_options options = usual();
    struct waiter first = {0};
    struct deadline later;
    int silent = open_dns_port(77);
    int spoken = open_dns_port(78);

    start(both);
    if (silent < 0 || spoken < 0) {
        cr_skip_test("port 53 is not ours to bind");
    }
    loop_watch_free(server_watch);
    (void)close(server_fd);
    serve(spoken);
    resolver_free(resolver);
    cr_assert_eq(close(mkstemp(resolv_conf_path)), 0);
    write_resolv_conf("nameserver 127.0.0.77\n");
    options.resolv_conf_path = resolv_conf_path;
    options.timeout_ms = 2000;
    cr_assert_eq(resolver_new(loop, &options, &resolver), 0);
    cr_assert_eq(ask(&first, "old.example"), 0);
    write_resolv_conf("nameserver 127.0.0.78\nnameserver 127.0.0.77\n");
    left++;
    deadline_init(&later, ask_second);
    deadline_arm(&later, loop, 1100);
    run(0);
    cr_expect_eq(second.reports[0].status, RESOLVE_OK);
    cr_expect_lt(second.reports[0].at_ms, 500);
    cr_expect_eq(first.reports[0].status, RESOLVE_TIMEOUT);
    cr_assert_eq(unlink(resolv_conf_path), 0);
    (void)close(silent);
}

/* ------------------------------------------------------------------ cache */

static void ask_again(struct waiter *waiter)
{
    waiter->then = NULL;
    cr_expect_eq(ask(&second, "a.example"), 1, "from the cache, in the callback");
    loop_stop(loop);
}

Test(resolver, answers_again_from_the_cache)
{
    struct waiter first = {.then = ask_again};

    start(both);
    cr_assert_eq(ask(&first, "a.example"), 0);
    run(0);
    cr_expect_eq(second.reports[0].addr_count, 3);
    cr_expect(second.reports[0].from_cache);
    cr_expect_eq(asked[DNS_A] + asked[DNS_AAAA], 2);
}

Test(resolver, failures_are_remembered)
{
    static const struct rule table[] = {{.name = "a.example", .rcode = {3, 3}}, {.name = NULL}};
    struct waiter first = {.then = ask_again};

    start(table);
    cr_assert_eq(ask(&first, "a.example"), 0);
    run(0);
    cr_expect_eq(second.reports[0].status, RESOLVE_NXDOMAIN);
    cr_expect_eq(asked[DNS_A], 1);
}

static void ask_anew(struct waiter *waiter)
{
    if (waiter->query == NULL) {
        waiter->then = NULL;
        cr_expect_eq(ask(&second, "a.example"), 0);
    }
}

Test(resolver, zero_ttl_serves_those_who_wait_and_nobody_else)
{
    static const struct rule table[] = {{.name = "a.example", .addr_count = {1, 1}, .ttl_s = 0},
                                        {.name = NULL}};
    struct waiter first = {.then = ask_anew};
    struct waiter beside = {0};

    start(table);
    left++; /* the second */
    cr_assert_eq(ask(&first, "a.example"), 0);
    cr_assert_eq(ask(&beside, "a.example"), 0);
    left--;
    run(0);
    cr_expect_eq(beside.reports[0].status, RESOLVE_OK);
    cr_expect_eq(second.reports[0].status, RESOLVE_OK);
    cr_expect_eq(asked[DNS_A], 2);
    cr_expect_eq(asked[DNS_AAAA], 2);
}

/* ------------------------------------------------------------------ many waiters */

Test(resolver, waiters_of_one_name_share_one_pair_of_queries)
{
    static const struct rule table[] = {
        {.name = "a.example", .delay_ms = {30, 30}, .addr_count = {1, 1}, .ttl_s = 60},
        {.name = NULL},
    };
    static struct waiter waiters[100];

    start(table);
    for (size_t i = 0; i < ARRAY_LEN(waiters); i++) {
        cr_assert_eq(ask(&waiters[i], "a.example"), 0);
    }
    run(0);
    for (size_t i = 0; i < ARRAY_LEN(waiters); i++) {
        cr_expect_eq(waiters[i].reports[waiters[i].count - 1].status, RESOLVE_OK);
    }
    cr_expect_eq(asked[DNS_A], 1);
    cr_expect_eq(asked[DNS_AAAA], 1);
}

static void join(struct waiter *waiter)
{
    waiter->then = NULL;
    cr_expect_eq(ask(&second, "a.example"), 0);
    cr_expect_eq(second.count, 0, "never told from inside an ask that returns 0");
}

Test(resolver, latecomer_hears_soon_what_is_there_already)
{
    static const struct rule table[] = {
        {.name = "a.example", .delay_ms = {[DNS_A] = 300}, .addr_count = {1, 1}, .ttl_s = 0},
        {.name = NULL},
    };
    struct waiter first = {.then = join};

    start(table);
    cr_assert_eq(ask(&first, "a.example"), 0);
    run(0);
    cr_assert_eq(second.count, 2);
    cr_expect(!second.reports[0].done && second.reports[0].first_kind == ADDR_IP6);
    cr_expect_lt(second.reports[0].at_ms, 200);
    cr_expect_eq(asked[DNS_A], 1);
    cr_expect_eq(asked[DNS_AAAA], 1);
}

static struct waiter others[4];

static void cancel_others(struct waiter *waiter)
{
    (void)waiter;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (others[i].query) {
            cancel(&others[i]);
        }
    }
    if (left == 0) {
        loop_stop(loop);
    }
}

Test(resolver, callback_may_cancel_those_who_are_next)
{
    struct waiter first = {.then = cancel_others};

    start(both);
    cr_assert_eq(ask(&others[0], "a.example"), 0);
    cancel(&others[0]);
    cr_assert_eq(ask(&first, "a.example"), 0);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cr_assert_eq(ask(&others[i], "a.example"), 0);
    }
    run(0);
    cr_expect_eq(first.count, 1);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cr_expect_eq(others[i].count, 0);
    }
}

static void cancel_self(struct waiter *waiter)
{
    waiter->then = NULL;
    cancel(waiter);
}

Test(resolver, callback_may_cancel_itself_after_the_first_half)
{
    static const struct rule table[] = {
        {.name = "a.example", .delay_ms = {[DNS_A] = 30}, .addr_count = {1, 1}, .ttl_s = 60},
        {.name = NULL},
    };
    struct waiter first = {.then = cancel_self};
    struct waiter beside = {0};

    start(table);
    cr_assert_eq(ask(&first, "a.example"), 0);
    cr_assert_eq(ask(&beside, "a.example"), 0);
    run(0);
    cr_expect_eq(first.count, 1);
    cr_expect_eq(beside.count, 2);
}

Test(resolver, answer_of_a_cancelled_question_feeds_the_cache)
{
    struct waiter first = {0};
    struct waiter later = {0};

    start(both);
    cr_assert_eq(ask(&first, "a.example"), 0);
    cancel(&first);
    run(200);
    cr_expect_eq(first.count, 0);
    cr_expect_eq(ask(&later, "a.example"), 1);
    cr_expect_eq(later.reports[0].addr_count, 3);
}

Test(resolver, frees_what_is_in_flight)
{
    static const struct rule table[] = {{.name = "a.example", .delay_ms = {DROP, DROP}},
                                        {.name = NULL}};
    struct waiter waiter = {0};

    start(table);
    cr_assert_eq(ask(&waiter, "a.example"), 0);
    run(100);
    cr_expect_eq(waiter.count, 0);
}

Test(resolver, names_its_library)
{
    start(nothing);
    cr_expect_eq(strncmp(resolver_library_version(), "1.", 2), 0);
    cr_expect_str_eq(resolve_status_text(RESOLVE_NXDOMAIN), "nxdomain");
}
