// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "io/loop.h"
#include "policy/machine.h"

static struct addr ip(const char *text)
{
    struct addr addr = {0};

    cr_assert(addr_parse_ip(str_of(text), &addr), "%s", text);
    return addr;
}

static struct addr_net net(const char *text)
{
    struct addr_net net = {0};
    bool host_bits;

    cr_assert(addr_parse_net(str_of(text), &net, &host_bits), "%s", text);
    return net;
}

static bool has(const struct machine_addrs *addrs, const char *text)
{
    struct addr addr = ip(text);

    return machine_addrs_has(addrs, &addr);
}

Test(machine, finds_addresses_of_a_table)
{
    struct addr_net given[] = {net("2001:db8::1"), net("10.0.0.2"), net("10.0.0.1"),
                               net("::ffff:10.0.0.3")};
    struct machine_addrs *addrs = NULL;
    struct addr other = ip("10.0.0.1");

    given[2].addr.port = 80;
    given[0].addr.scope = 3;
    cr_assert_eq(machine_addrs_new(given, ARRAY_LEN(given), &addrs), 0);
    cr_expect_eq(machine_addrs_count(addrs), 4);
    cr_expect(has(addrs, "10.0.0.1"));
    cr_expect(has(addrs, "10.0.0.2"));
    cr_expect(has(addrs, "10.0.0.3"));
    cr_expect(has(addrs, "::ffff:10.0.0.2"));
    cr_expect(has(addrs, "2001:db8::1"));
    cr_expect_not(has(addrs, "10.0.0.4"));
    cr_expect_not(has(addrs, "2001:db8::2"));
    cr_expect_not(has(addrs, "a00:1::"));
    other.port = 9;
    cr_expect(machine_addrs_has(addrs, &other));
    machine_addrs_free(addrs);
    cr_assert_eq(machine_addrs_new(NULL, 0, &addrs), 0);
    cr_expect_not(has(addrs, "10.0.0.1"));
    machine_addrs_free(addrs);
    machine_addrs_free(NULL);
}

static void expect_networks(const struct addr_net *given, size_t count)
{
    static const char *const in[] = {"10.1.0.0",      "10.1.2.3", "10.1.255.255",
                                     "10.2.255.255",  "10.3.0.0", "10.3.0.255",
                                     "2001:db8:1::5", "::1",      "::ffff:10.1.9.9"};
    static const char *const out[] = {"10.0.255.255", "10.2.0.0", "10.2.255.254",   "10.3.1.0",
                                      "2001:db8::1",  "::2",      "2001:db8:2::",   "0.0.0.0",
                                      "::",           "ffff::1",  "255.255.255.255"};
    struct machine_addrs *addrs = NULL;

    cr_assert_eq(machine_addrs_new(given, count, &addrs), 0);
    cr_expect_eq(machine_addrs_count(addrs), 5);
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        cr_expect(has(addrs, in[i]), "%s", in[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(out); i++) {
        cr_expect_not(has(addrs, out[i]), "%s", out[i]);
    }
    machine_addrs_free(addrs);
}

/* In whatever order they are given. */
Test(machine, finds_networks_and_addresses_within_and_beside_them)
{
    const struct addr_net given[] = {
        net("10.1.2.3"),        net("10.1.0.0/16"),  net("10.1.0.0"),
        net("10.3.0.0/24"),     net("10.2.255.255"), net("10.1.2.0/24"),
        net("2001:db8:1::/48"), net("2001:db8:1::"), net("::1")};
    struct addr_net reversed[ARRAY_LEN(given)];

    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        reversed[i] = given[ARRAY_LEN(given) - 1 - i];
    }
    expect_networks(given, ARRAY_LEN(given));
    expect_networks(reversed, ARRAY_LEN(reversed));
}

/* ---- Netlink messages ---- */

struct datagram {
    char bytes[1024];
    size_t len;
};

static void put(struct datagram *out, const void *bytes, size_t size)
{
    cr_assert(out->len + size <= sizeof(out->bytes));
    memcpy(out->bytes + out->len, bytes, size);
    out->len += size;
    while (out->len % 4 != 0) {
        out->bytes[out->len++] = 0;
    }
}

/* An attribute with an address; text NULL: one that is no address at all. */
static void put_attribute(struct datagram *out, unsigned short type, const char *text)
{
    struct addr addr = text ? ip(text) : (struct addr){.bytes = "eth0"};
    unsigned short size = addr.kind == ADDR_IP6 ? 16 : 4;
    const struct rtattr head = {.rta_len = (unsigned short)(sizeof(head) + size), .rta_type = type};

    put(out, &head, sizeof(head));
    put(out, addr.bytes, size);
}

/* A message about an address: what IFA_ADDRESS and IFA_LOCAL say (NULL: nothing). */
static void put_message(struct datagram *out, unsigned short type, unsigned short flags,
                        const char *address, const char *local)
{
    size_t begin = out->len;
    struct nlmsghdr head = {.nlmsg_type = type, .nlmsg_flags = flags};
    const char *any = local ? local : address;
    const struct ifaddrmsg body = {
        .ifa_family = (unsigned char)(any && strchr(any, ':') ? AF_INET6 : AF_INET)};

    put(out, &head, sizeof(head));
    put(out, &body, sizeof(body));
    put_attribute(out, IFA_LABEL, NULL);
    if (address) {
        put_attribute(out, IFA_ADDRESS, address);
    }
    if (local) {
        put_attribute(out, IFA_LOCAL, local);
    }
    head.nlmsg_len = (unsigned)(out->len - begin);
    memcpy(out->bytes + begin, &head, sizeof(head));
}

static void put_end(struct datagram *out, unsigned short type, int error)
{
    const struct nlmsgerr body = {.error = error};
    const struct nlmsghdr head = {.nlmsg_type = type,
                                  .nlmsg_len = (unsigned)(sizeof(head) + sizeof(body))};

    put(out, &head, sizeof(head));
    put(out, &body, sizeof(body));
}

/* A route; to NULL: to everything. */
static void put_route(struct datagram *out, unsigned char table, unsigned char type, const char *to)
{
    struct addr_net dst = to ? net(to) : (struct addr_net){.addr = {.kind = ADDR_IP6}};
    size_t begin = out->len;
    struct nlmsghdr head = {.nlmsg_type = RTM_NEWROUTE, .nlmsg_flags = NLM_F_MULTI};
    const struct rtmsg body = {
        .rtm_family = (unsigned char)(dst.addr.kind == ADDR_IP6 ? AF_INET6 : AF_INET),
        .rtm_dst_len = (unsigned char)dst.bits,
        .rtm_table = table,
        .rtm_type = type,
    };

    put(out, &head, sizeof(head));
    put(out, &body, sizeof(body));
    put_attribute(out, RTA_PREFSRC, "10.9.9.9");
    if (to) {
        char text[ADDR_TEXT_MAX];
        struct text bare = TEXT_OVER(text);

        addr_put(&bare, &dst.addr);
        put_attribute(out, RTA_DST, text_cstr(&bare));
    }
    head.nlmsg_len = (unsigned)(out->len - begin);
    memcpy(out->bytes + begin, &head, sizeof(head));
}

static void note(void *arg, const struct addr_net *net)
{
    struct text *out = arg;

    addr_put(out, &net->addr);
    if (net->bits != (net->addr.kind == ADDR_IP4 ? 32 : 128)) {
        text_printf(out, "/%u", net->bits);
    }
    text_char(out, ' ');
}

static int parse(const struct datagram *datagram, size_t len, char *dst, size_t cap, bool *ret_done)
{
    struct text out = text_over(dst, cap);
    char *exact = malloc(len > 0 ? len : 1); /* so that the sanitizer sees a byte too far */
    int r;

    cr_assert_not_null(exact);
    memcpy(exact, datagram->bytes, len);
    r = machine_parse(str_make(exact, len), note, &out, ret_done);
    free(exact);
    (void)text_cstr(&out);
    return r;
}

Test(machine, reads_the_addresses_of_a_dump)
{
    struct datagram datagram = {.len = 0};
    char found[512];
    bool done = true;

    put_message(&datagram, RTM_NEWADDR, NLM_F_MULTI, "10.0.0.1", "10.0.0.1");
    put_message(&datagram, RTM_NEWADDR, NLM_F_MULTI, "10.9.9.9", "10.0.0.2"); /* another end */
    put_message(&datagram, RTM_NEWADDR, NLM_F_MULTI, "2001:db8::1", NULL);
    put_message(&datagram, RTM_NEWADDR, NLM_F_MULTI, "2001:db8::9", "2001:db8::2");
    put_message(&datagram, RTM_NEWADDR, NLM_F_MULTI, NULL, NULL);
    put_message(&datagram, RTM_DELADDR, 0, "10.0.0.3", "10.0.0.3");
    cr_assert_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), 0);
    cr_expect_str_eq(found, "10.0.0.1 10.0.0.2 2001:db8::1 2001:db8::2 ");
    cr_expect_not(done);
    put_end(&datagram, NLMSG_DONE, 0);
    put_message(&datagram, RTM_NEWADDR, 0, "10.0.0.4", NULL); /* not of the dump */
    cr_assert_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), 0);
    cr_expect(done);
    cr_expect_null(strstr(found, "10.0.0.4"));
}

Test(machine, reads_the_routes_of_a_dump)
{
    struct datagram datagram = {.len = 0};
    char found[512];
    bool done;

    put_route(&datagram, RT_TABLE_LOCAL, RTN_LOCAL, "10.0.0.1");
    put_route(&datagram, RT_TABLE_LOCAL, RTN_LOCAL, "192.0.2.0/24");
    put_route(&datagram, RT_TABLE_LOCAL, RTN_ANYCAST, "2001:db8::");
    put_route(&datagram, RT_TABLE_LOCAL, RTN_LOCAL, NULL);
    put_route(&datagram, RT_TABLE_LOCAL, RTN_BROADCAST, "10.0.0.255");
    put_route(&datagram, RT_TABLE_LOCAL, RTN_MULTICAST, "ff00::/8");
    put_route(&datagram, RT_TABLE_MAIN, RTN_UNICAST, "10.0.0.0/24");
    put_route(&datagram, 100, RTN_LOCAL, NULL); /* a transparent proxy's */
    cr_assert_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), 0);
    cr_expect_str_eq(found, "10.0.0.1 192.0.2.0/24 2001:db8:: ::/0 ");
}

Test(machine, takes_no_route_of_another_family_or_length)
{
    static const unsigned char rows[][2] = {{AF_INET, 33}, {AF_INET6, 129}, {AF_UNSPEC, 0}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct datagram datagram = {.len = 0};
        char found[512];
        bool done;
        struct rtmsg *body = (struct rtmsg *)(void *)(datagram.bytes + NLMSG_HDRLEN);

        put_route(&datagram, RT_TABLE_LOCAL, RTN_LOCAL, rows[i][0] == AF_INET ? "10.0.0.1" : "::1");
        body->rtm_family = rows[i][0];
        body->rtm_dst_len = rows[i][1];
        cr_assert_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), 0);
        cr_expect_str_eq(found, "", "row %zu", i);
    }
}

Test(machine, takes_local_before_address_in_any_order)
{
    struct datagram datagram = {.len = 0};
    struct nlmsghdr head = {.nlmsg_type = RTM_NEWADDR};
    const struct ifaddrmsg body = {.ifa_family = AF_INET};
    char found[512];
    bool done;

    put(&datagram, &head, sizeof(head));
    put(&datagram, &body, sizeof(body));
    put_attribute(&datagram, IFA_LOCAL, "10.0.0.1");
    put_attribute(&datagram, IFA_ADDRESS, "10.9.9.9");
    head.nlmsg_len = (unsigned)datagram.len;
    memcpy(datagram.bytes, &head, sizeof(head));
    cr_assert_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), 0);
    cr_expect_str_eq(found, "10.0.0.1 ");
}

/* Begins a message of a family; the length is set by end_message. */
static void begin_message(struct datagram *out, unsigned char family)
{
    const struct nlmsghdr head = {.nlmsg_type = RTM_NEWADDR};
    const struct ifaddrmsg body = {.ifa_family = family};

    put(out, &head, sizeof(head));
    put(out, &body, sizeof(body));
}

static void end_message(struct datagram *out)
{
    struct nlmsghdr head = {.nlmsg_type = RTM_NEWADDR, .nlmsg_len = (unsigned)out->len};

    memcpy(out->bytes, &head, sizeof(head));
}

Test(machine, takes_no_address_of_another_length)
{
    static const struct {
        unsigned char family;
        const char *address, *local, *found;
    } rows[] = {
        {AF_INET, "2001:db8::1", NULL, ""},
        {AF_INET6, "10.0.0.1", NULL, ""},
        {AF_UNSPEC, "10.0.0.1", NULL, ""},
        {AF_INET, "10.0.0.1", "2001:db8::1", "10.0.0.1 "},
        {AF_INET6, "2001:db8::1", "10.0.0.1", "2001:db8::1 "},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct datagram datagram = {.len = 0};
        char found[512];
        bool done;

        begin_message(&datagram, rows[i].family);
        if (rows[i].local) {
            put_attribute(&datagram, IFA_LOCAL, rows[i].local);
        }
        put_attribute(&datagram, IFA_ADDRESS, rows[i].address);
        end_message(&datagram);
        cr_assert_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), 0);
        cr_expect_str_eq(found, rows[i].found, "row %zu", i);
    }
}

Test(machine, takes_what_is_empty)
{
    const struct rtattr flag = {.rta_len = sizeof(flag), .rta_type = IFA_FLAGS};
    const struct nlmsghdr done_head = {.nlmsg_type = NLMSG_DONE, .nlmsg_len = sizeof(done_head)};
    struct datagram bare = {.len = 0};
    struct datagram with_flag = {.len = 0};
    const struct rtmsg to_all = {
        .rtm_family = AF_INET, .rtm_table = RT_TABLE_LOCAL, .rtm_type = RTN_LOCAL};
    const struct nlmsghdr route_head = {.nlmsg_type = RTM_NEWROUTE,
                                        .nlmsg_len = sizeof(route_head) + sizeof(to_all)};
    struct datagram route = {.len = 0};
    struct datagram end = {.len = 0};
    char found[512];
    bool done;

    begin_message(&bare, AF_INET);
    end_message(&bare);
    cr_expect_eq(parse(&bare, bare.len, found, sizeof(found), &done), 0);
    begin_message(&with_flag, AF_INET);
    put_attribute(&with_flag, IFA_ADDRESS, "10.0.0.1");
    put(&with_flag, &flag, sizeof(flag));
    end_message(&with_flag);
    cr_expect_eq(parse(&with_flag, with_flag.len, found, sizeof(found), &done), 0);
    cr_expect_str_eq(found, "10.0.0.1 ");
    put(&route, &route_head, sizeof(route_head));
    put(&route, &to_all, sizeof(to_all));
    cr_expect_eq(parse(&route, route.len, found, sizeof(found), &done), 0);
    cr_expect_str_eq(found, "0.0.0.0/0 ");
    put(&end, &done_head, sizeof(done_head));
    cr_expect_eq(parse(&end, end.len, found, sizeof(found), &done), 0);
    cr_expect(done);
}

Test(machine, refuses_what_is_cut_short)
{
    struct datagram datagram = {.len = 0};
    struct datagram route = {.len = 0};
    char found[512];
    bool done;

    put_message(&datagram, RTM_NEWADDR, 0, "10.0.0.1", "10.0.0.1");
    for (size_t len = 1; len < datagram.len; len++) {
        cr_expect_eq(parse(&datagram, len, found, sizeof(found), &done), -EBADMSG, "%zu", len);
    }
    put_route(&route, RT_TABLE_LOCAL, RTN_LOCAL, "10.0.0.1");
    for (size_t len = 1; len < route.len; len++) {
        cr_expect_eq(parse(&route, len, found, sizeof(found), &done), -EBADMSG, "%zu", len);
    }
    cr_expect_eq(parse(&datagram, 0, found, sizeof(found), &done), 0);
}

/* Lengths that lie, at every place of a message. */
Test(machine, survives_any_byte)
{
    struct datagram datagram = {.len = 0};
    char found[4096];
    bool done;

    put_message(&datagram, RTM_NEWADDR, 0, "10.0.0.1", "2001:db8::1");
    put_route(&datagram, RT_TABLE_LOCAL, RTN_LOCAL, "10.0.0.0/8");
    put_end(&datagram, NLMSG_ERROR, -EPERM);
    for (size_t i = 0; i < datagram.len; i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            struct datagram broken = datagram;

            broken.bytes[i] = (char)byte;
            (void)parse(&broken, broken.len, found, sizeof(found), &done);
        }
    }
}

Test(machine, passes_on_what_the_kernel_complains_of)
{
    struct datagram datagram = {.len = 0};
    struct datagram cut_short = {.len = 0};
    struct datagram interrupted = {.len = 0};
    const int bare_error = -EMSGSIZE; /* without the message that it is about */
    const struct nlmsghdr bare_head = {.nlmsg_type = NLMSG_DONE,
                                       .nlmsg_len = sizeof(bare_head) + sizeof(bare_error)};
    struct datagram bare = {.len = 0};
    struct datagram ack = {.len = 0};
    char found[512];
    bool done;

    put_end(&datagram, NLMSG_ERROR, -EPERM);
    cr_expect_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), -EPERM);
    put_end(&cut_short, NLMSG_DONE, -EMSGSIZE);
    cr_expect_eq(parse(&cut_short, cut_short.len, found, sizeof(found), &done), -EMSGSIZE);
    cr_expect(done);
    put(&bare, &bare_head, sizeof(bare_head));
    put(&bare, &bare_error, sizeof(bare_error));
    cr_expect_eq(parse(&bare, bare.len, found, sizeof(found), &done), -EMSGSIZE);
    put_message(&interrupted, RTM_NEWADDR, NLM_F_DUMP_INTR, "10.0.0.1", NULL);
    cr_expect_eq(parse(&interrupted, interrupted.len, found, sizeof(found), &done), -EAGAIN);
    put_end(&ack, NLMSG_ERROR, 0);
    cr_expect_eq(parse(&ack, ack.len, found, sizeof(found), &done), -EBADMSG);
    cr_expect_eq(parse(&ack, 20, found, sizeof(found), &done), -EBADMSG);
}

/* ---- The kernel ---- */

Test(machine, reads_this_machine)
{
    struct machine_addrs *addrs = NULL;

    cr_assert_eq(machine_addrs_read(&addrs), 0);
    cr_expect(machine_addrs_count(addrs) == 0 || has(addrs, "127.0.0.1") || has(addrs, "::1"));
    machine_addrs_free(addrs);
}

static void configure_lo(unsigned long what, struct ifreq request)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    cr_assert_geq(fd, 0);
    memcpy(request.ifr_name, "lo", sizeof("lo"));
    cr_assert_eq(ioctl(fd, what, &request), 0, "%s", strerror(errno));
    (void)close(fd);
}

/* A network namespace of this process, with its loopback device up. */
static void leave_network(void)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 && unshare(CLONE_NEWNET) != 0) {
        cr_skip_test("no network namespace to be had");
    }
    configure_lo(SIOCSIFFLAGS, (struct ifreq){.ifr_flags = IFF_UP});
}

static void set_address(const char *text)
{
    struct ifreq request = {.ifr_flags = 0};
    struct sockaddr_in address = {.sin_family = AF_INET};

    cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
    memcpy(&request.ifr_addr, &address, sizeof(address));
    configure_lo(SIOCSIFADDR, request);
}

/* A route over its loopback device. */
static void ask_route(unsigned short type, unsigned char table, unsigned char kind, const char *to)
{
    const struct addr_net dst = net(to);
    const struct rtmsg body = {
        .rtm_family = AF_INET,
        .rtm_dst_len = (unsigned char)dst.bits,
        .rtm_table = table,
        .rtm_type = kind,
        .rtm_scope = kind == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK,
        .rtm_protocol = RTPROT_STATIC,
    };
    struct nlmsghdr head = {
        .nlmsg_type = type,
        .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (type == RTM_NEWROUTE ? NLM_F_CREATE : 0),
    };
    const struct rtattr out = {.rta_type = RTA_OIF, .rta_len = RTA_LENGTH(sizeof(int))};
    const int lo = 1;
    struct datagram datagram = {.len = 0};
    struct nlmsgerr answer;
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    char text[ADDR_TEXT_MAX];
    struct text bare = TEXT_OVER(text);

    put(&datagram, &head, sizeof(head));
    put(&datagram, &body, sizeof(body));
    addr_put(&bare, &dst.addr);
    put_attribute(&datagram, RTA_DST, text_cstr(&bare));
    put(&datagram, &out, sizeof(out));
    put(&datagram, &lo, sizeof(lo));
    head.nlmsg_len = (unsigned)datagram.len;
    memcpy(datagram.bytes, &head, sizeof(head));
    cr_assert_eq(send(fd, datagram.bytes, datagram.len, 0), (ssize_t)datagram.len);
    cr_assert_geq(recv(fd, datagram.bytes, sizeof(datagram.bytes), 0),
                  (ssize_t)(NLMSG_HDRLEN + sizeof(answer)));
    memcpy(&answer, datagram.bytes + NLMSG_HDRLEN, sizeof(answer));
    cr_assert_eq(answer.error, 0, "%s: %s", to, strerror(-answer.error));
    (void)close(fd);
}

/* What changes, one after the other; each change is waited for. */
static void address_1(void)
{
    set_address("10.1.1.1");
}

static void address_2(void)
{
    set_address("172.16.2.2");
}

static void route_comes(void)
{
    ask_route(RTM_NEWROUTE, RT_TABLE_MAIN, RTN_UNICAST, "198.51.100.0/24");
    ask_route(RTM_NEWROUTE, RT_TABLE_LOCAL, RTN_LOCAL, "192.0.2.0/24");
}

static void route_goes(void)
{
    ask_route(RTM_DELROUTE, RT_TABLE_LOCAL, RTN_LOCAL, "192.0.2.0/24");
}

static const struct {
    void (*make)(void);
    const char *in, *out;
} changes[] = {
    {address_1, "10.1.1.1", "192.0.2.9"},
    {address_2, "172.16.2.2", "10.1.1.1"},
    {route_comes, "192.0.2.9", "198.51.100.1"},
    {route_goes, "172.16.2.2", "192.0.2.9"},
};

struct follower {
    struct loop *loop;
    struct machine *machine;
    size_t step;
    uint64_t until_ms;
    struct deadline look;
};

static void on_look(struct deadline *deadline)
{
    struct follower *f = CONTAINER_OF(deadline, struct follower, look);
    const struct machine_addrs *addrs = machine_addrs_now(f->machine);

    if (has(addrs, changes[f->step].in) && !has(addrs, changes[f->step].out) &&
        ++f->step < ARRAY_LEN(changes)) {
        changes[f->step].make();
    }
    if (f->step == ARRAY_LEN(changes) || clock_mono_ms() > f->until_ms) {
        loop_stop(f->loop);
    } else {
        deadline_arm(&f->look, f->loop, 5);
    }
}

Test(machine, follows_changes)
{
    struct follower f = {.until_ms = clock_mono_ms() + 10000};

    leave_network();
    cr_assert_eq(loop_new(&f.loop), 0);
    cr_assert_eq(machine_new(f.loop, &f.machine), 0);
    cr_expect_not(has(machine_addrs_now(f.machine), changes[0].in));
    changes[0].make();
    deadline_init(&f.look, on_look);
    deadline_arm(&f.look, f.loop, 1);
    cr_assert_eq(loop_run(f.loop), 0);
    cr_expect_eq(f.step, ARRAY_LEN(changes), "only %zu changes were seen", f.step);
    machine_free(f.machine);
    machine_free(NULL);
    loop_free(f.loop);
}
