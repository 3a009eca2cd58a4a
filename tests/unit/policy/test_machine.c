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

static bool has(const struct machine_addrs *addrs, const char *text)
{
    struct addr addr = ip(text);

    return machine_addrs_has(addrs, &addr);
}

Test(machine, finds_addresses_of_a_table)
{
    struct addr given[] = {ip("2001:db8::1"), ip("10.0.0.2"), ip("10.0.0.1"),
                           ip("::ffff:10.0.0.3")};
    struct machine_addrs *addrs = NULL;
    struct addr other = ip("10.0.0.1");

    given[2].port = 80;
    given[0].scope = 3;
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

static void note(void *arg, const struct addr *addr)
{
    struct text *out = arg;

    addr_put(out, addr);
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
    put(&end, &done_head, sizeof(done_head));
    cr_expect_eq(parse(&end, end.len, found, sizeof(found), &done), 0);
    cr_expect(done);
}

Test(machine, refuses_what_is_cut_short)
{
    struct datagram datagram = {.len = 0};
    char found[512];
    bool done;

    put_message(&datagram, RTM_NEWADDR, 0, "10.0.0.1", "10.0.0.1");
    for (size_t len = 1; len < datagram.len; len++) {
        cr_expect_eq(parse(&datagram, len, found, sizeof(found), &done), -EBADMSG, "%zu", len);
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
    struct datagram interrupted = {.len = 0};
    struct datagram ack = {.len = 0};
    char found[512];
    bool done;

    put_end(&datagram, NLMSG_ERROR, -EPERM);
    cr_expect_eq(parse(&datagram, datagram.len, found, sizeof(found), &done), -EPERM);
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

/* Up with an address, on the loopback device of a network namespace of this process. */
static void set_address(const char *name, const char *text)
{
    struct ifreq request = {0};
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
    (void)strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    memcpy(&request.ifr_addr, &address, sizeof(address));
    cr_assert_eq(ioctl(fd, SIOCSIFADDR, &request), 0, "%s: %s", text, strerror(errno));
    (void)close(fd);
}

/* Addresses that lo gets one after the other; each is waited for. */
static const char *const steps[] = {"10.1.1.1", "10.2.2.2", "10.3.3.3"};

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
    bool is_gone = f->step == 0 || !has(addrs, steps[f->step - 1]);

    if (is_gone && has(addrs, steps[f->step]) && ++f->step < ARRAY_LEN(steps)) {
        set_address("lo", steps[f->step]);
    }
    if (f->step == ARRAY_LEN(steps) || clock_mono_ms() > f->until_ms) {
        loop_stop(f->loop);
    } else {
        deadline_arm(&f->look, f->loop, 5);
    }
}

Test(machine, follows_changes)
{
    struct follower f = {.until_ms = clock_mono_ms() + 10000};

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 && unshare(CLONE_NEWNET) != 0) {
        cr_skip_test("no network namespace to be had");
    }
    cr_assert_eq(loop_new(&f.loop), 0);
    cr_assert_eq(machine_new(f.loop, &f.machine), 0);
    cr_expect_not(has(machine_addrs_now(f.machine), steps[0]));
    set_address("lo", steps[0]);
    deadline_init(&f.look, on_look);
    deadline_arm(&f.look, f.loop, 1);
    cr_assert_eq(loop_run(f.loop), 0);
    cr_expect_eq(f.step, ARRAY_LEN(steps), "only %zu changes were seen", f.step);
    machine_free(f.machine);
    machine_free(NULL);
    loop_free(f.loop);
}
