// SPDX-License-Identifier: MIT
#include "policy/machine.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/mem.h"

/* ---- A table ---- */

struct machine_addrs {
    size_t count;
    struct addr_net nets[]; /* sorted and apart from each other, without ports and zones */
};

static int compare_addrs(const struct addr *a, const struct addr *b)
{
    int order = (int)a->kind - (int)b->kind;

    return order != 0 ? order : memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* A network stands before those within it. */
static int compare(const void *a, const void *b)
{
    const struct addr_net *x = a;
    const struct addr_net *y = b;
    int order = compare_addrs(&x->addr, &y->addr);

    return order != 0 ? order : (x->bits > y->bits) - (x->bits < y->bits);
}

static void drop_inner(struct machine_addrs *addrs)
{
    size_t kept = 0;

    for (size_t i = 0; i < addrs->count; i++) {
        const struct addr_net *net = &addrs->nets[i];

        if (kept == 0 || !addr_in_net(&net->addr, &addrs->nets[kept - 1])) {
            addrs->nets[kept++] = *net;
        }
    }
    addrs->count = kept;
}

int machine_addrs_new(const struct addr_net *nets, size_t count, struct machine_addrs **ret)
{
    struct machine_addrs *made = mem_alloc(sizeof(*made) + count * sizeof(made->nets[0]));

    if (!made) {
        return -ENOMEM;
    }
    made->count = count;
    for (size_t i = 0; i < count; i++) {
        made->nets[i] = nets[i];
        made->nets[i].addr.port = 0;
        made->nets[i].addr.scope = 0;
    }
    qsort(made->nets, count, sizeof(made->nets[0]), compare);
    drop_inner(made);
    *ret = made;
    return 0;
}

void machine_addrs_free(struct machine_addrs *addrs)
{
    mem_free(addrs);
}

bool machine_addrs_has(const struct machine_addrs *addrs, const struct addr *addr)
{
    struct addr key = addr_unmapped(addr);
    size_t low = 0;
    size_t high = addrs->count;

    /* The last that begins at the address or before it: none behind it can hold it. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_addrs(&addrs->nets[middle].addr, &key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && addr_in_net(&key, &addrs->nets[low - 1]);
}

size_t machine_addrs_count(const struct machine_addrs *addrs)
{
    return addrs->count;
}

/* ---- Netlink messages ---- */

/* Cuts size bytes, and what pads them to the next multiple of four, off the text. */
static struct str cut(struct str *text, size_t size)
{
    struct str head = str_head(*text, size);

    *text = str_from(*text, NLMSG_ALIGN(size));
    return head;
}

static bool read_addr(int family, struct str value, struct addr *ret)
{
    bool is_ip4 = family == AF_INET && value.len == 4;

    if (!is_ip4 && !(family == AF_INET6 && value.len == 16)) {
        return false;
    }
    *ret = (struct addr){.kind = is_ip4 ? ADDR_IP4 : ADDR_IP6};
    memcpy(ret->bytes, value.ptr, value.len);
    return true;
}

/* Cuts the first attribute off rest. 0 or -EBADMSG. */
static int cut_attribute(struct str *rest, unsigned short *ret_type, struct str *ret_value)
{
    struct rtattr head;

    if (rest->len < sizeof(head)) {
        return -EBADMSG;
    }
    memcpy(&head, rest->ptr, sizeof(head));
    if (head.rta_len < sizeof(head) || head.rta_len > rest->len) {
        return -EBADMSG;
    }
    *ret_value = str_from(cut(rest, head.rta_len), RTA_LENGTH(0));
    *ret_type = head.rta_type;
    return 0;
}

/* What is found is given to add. */
struct sink {
    void (*add)(void *arg, const struct addr_net *net);
    void *arg;
};

/* On a link with two ends IFA_ADDRESS is the other end's, and IFA_LOCAL is ours. */
static int parse_address(struct str body, const struct sink *sink)
{
    struct ifaddrmsg message;
    struct addr_net net = {0};
    bool is_local = false;

    if (body.len < sizeof(message)) {
        return -EBADMSG;
    }
    memcpy(&message, body.ptr, sizeof(message));
    body = str_from(body, NLMSG_ALIGN(sizeof(message)));
    while (body.len > 0) {
        unsigned short type;
        struct str value;

        if (cut_attribute(&body, &type, &value) != 0) {
            return -EBADMSG;
        }
        if (type == IFA_LOCAL || (type == IFA_ADDRESS && !is_local)) {
            is_local = read_addr(message.ifa_family, value, &net.addr) && type == IFA_LOCAL;
        }
    }
    if (net.addr.kind != ADDR_NONE) {
        net.bits = net.addr.kind == ADDR_IP4 ? 32 : 128;
        sink->add(sink->arg, &net);
    }
    return 0;
}

/* Of the table that every packet is looked up in first. Other tables are for packets that somebody
 * marks: that of a transparent proxy says "local" of every address. */
static bool is_own_route(const struct rtmsg *message)
{
    return message->rtm_table == RT_TABLE_LOCAL &&
           (message->rtm_type == RTN_LOCAL || message->rtm_type == RTN_ANYCAST);
}

/* A route to everything has no RTA_DST. */
static int parse_route(struct str body, const struct sink *sink)
{
    struct rtmsg message;
    struct addr_net net = {0};

    if (body.len < sizeof(message)) {
        return -EBADMSG;
    }
    memcpy(&message, body.ptr, sizeof(message));
    body = str_from(body, NLMSG_ALIGN(sizeof(message)));
    if (message.rtm_dst_len == 0) {
        net.addr.kind = message.rtm_family == AF_INET    ? ADDR_IP4
                        : message.rtm_family == AF_INET6 ? ADDR_IP6
                                                         : ADDR_NONE;
    }
    while (body.len > 0) {
        unsigned short type;
        struct str value;

        if (cut_attribute(&body, &type, &value) != 0) {
            return -EBADMSG;
        }
        if (type == RTA_DST) {
            (void)read_addr(message.rtm_family, value, &net.addr);
        }
    }
    net.bits = message.rtm_dst_len;
    if (is_own_route(&message) && net.addr.kind != ADDR_NONE &&
        net.bits <= (net.addr.kind == ADDR_IP4 ? 32 : 128)) {
        sink->add(sink->arg, &net);
    }
    return 0;
}

static int parse_error(struct str body)
{
    struct nlmsgerr error;

    if (body.len < sizeof(error)) {
        return -EBADMSG;
    }
    memcpy(&error, body.ptr, sizeof(error));
    return error.error < 0 ? error.error : -EBADMSG;
}

/* What went wrong in a dump is told at its end. */
static int parse_done(struct str body)
{
    int error = 0;

    if (body.len >= sizeof(error)) {
        memcpy(&error, body.ptr, sizeof(error));
    }
    return MIN(error, 0);
}

static int parse_message(const struct nlmsghdr *head, struct str body, const struct sink *sink)
{
    if ((head->nlmsg_flags & NLM_F_DUMP_INTR) != 0) {
        return -EAGAIN;
    }
    switch (head->nlmsg_type) {
    case NLMSG_ERROR:
        return parse_error(body);
    case NLMSG_DONE:
        return parse_done(body);
    case RTM_NEWADDR:
        return parse_address(body, sink);
    case RTM_NEWROUTE:
        return parse_route(body, sink);
    default:
        return 0;
    }
}

int machine_parse(struct str datagram, void (*add)(void *arg, const struct addr_net *net),
                  void *arg, bool *ret_done)
{
    const struct sink sink = {.add = add, .arg = arg};
    int error = 0;

    *ret_done = false;
    while (datagram.len > 0 && !*ret_done && !error) {
        struct nlmsghdr head;

        if (datagram.len < sizeof(head)) {
            return -EBADMSG;
        }
        memcpy(&head, datagram.ptr, sizeof(head));
        if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > datagram.len) {
            return -EBADMSG;
        }
        error = parse_message(&head, str_from(cut(&datagram, head.nlmsg_len), NLMSG_HDRLEN), &sink);
        *ret_done = head.nlmsg_type == NLMSG_DONE;
    }
    return error;
}
