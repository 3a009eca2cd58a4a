// SPDX-License-Identifier: MIT
#include "policy/machine.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

/* ---- A table ---- */

struct machine_addrs {
    size_t count;
    struct addr items[]; /* sorted, without ports and zones */
};

static int compare(const void *a, const void *b)
{
    const struct addr *x = a;
    const struct addr *y = b;
    int order = (int)x->kind - (int)y->kind;

    return order != 0 ? order : memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

int machine_addrs_new(const struct addr *addrs, size_t count, struct machine_addrs **ret)
{
    struct machine_addrs *made = mem_alloc(sizeof(*made) + count * sizeof(made->items[0]));

    if (!made) {
        return -ENOMEM;
    }
    made->count = count;
    for (size_t i = 0; i < count; i++) {
        made->items[i] = addr_unmapped(&addrs[i]);
        made->items[i].port = 0;
        made->items[i].scope = 0;
    }
    qsort(made->items, count, sizeof(made->items[0]), compare);
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

    return bsearch(&key, addrs->items, addrs->count, sizeof(key), compare) != NULL;
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

/* The address among the attributes. On a link with two ends IFA_ADDRESS is the other end's, and
 * IFA_LOCAL is ours. */
static int parse_attributes(int family, struct str rest,
                            void (*add)(void *arg, const struct addr *addr), void *arg)
{
    struct addr addr = {0};
    bool is_local = false;

    while (rest.len > 0) {
        struct rtattr head;
        struct str value;

        if (rest.len < sizeof(head)) {
            return -EBADMSG;
        }
        memcpy(&head, rest.ptr, sizeof(head));
        if (head.rta_len < sizeof(head) || head.rta_len > rest.len) {
            return -EBADMSG;
        }
        value = str_from(cut(&rest, head.rta_len), RTA_LENGTH(0));
        if (head.rta_type == IFA_LOCAL || (head.rta_type == IFA_ADDRESS && !is_local)) {
            is_local = read_addr(family, value, &addr) && head.rta_type == IFA_LOCAL;
        }
    }
    if (addr.kind != ADDR_NONE) {
        add(arg, &addr);
    }
    return 0;
}

static int parse_address(struct str body, void (*add)(void *arg, const struct addr *addr),
                         void *arg)
{
    struct ifaddrmsg message;

    if (body.len < sizeof(message)) {
        return -EBADMSG;
    }
    memcpy(&message, body.ptr, sizeof(message));
    return parse_attributes(message.ifa_family, str_from(body, NLMSG_ALIGN(sizeof(message))), add,
                            arg);
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

int machine_parse(struct str datagram, void (*add)(void *arg, const struct addr *addr), void *arg,
                  bool *ret_done)
{
    int error = 0;

    *ret_done = false;
    while (datagram.len > 0 && !*ret_done && !error) {
        struct nlmsghdr head;
        struct str body;

        if (datagram.len < sizeof(head)) {
            return -EBADMSG;
        }
        memcpy(&head, datagram.ptr, sizeof(head));
        if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > datagram.len) {
            return -EBADMSG;
        }
        body = str_from(cut(&datagram, head.nlmsg_len), NLMSG_HDRLEN);
        if ((head.nlmsg_flags & NLM_F_DUMP_INTR) != 0) {
            error = -EAGAIN;
        } else if (head.nlmsg_type == NLMSG_ERROR) {
            error = parse_error(body);
        } else if (head.nlmsg_type == RTM_NEWADDR) {
            error = parse_address(body, add, arg);
        }
        *ret_done = head.nlmsg_type == NLMSG_DONE;
    }
    return error;
}
