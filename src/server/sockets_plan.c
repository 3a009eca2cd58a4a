// SPDX-License-Identifier: MIT
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/listener.h"
#include "io/stream_tcp.h"
#include "log/log.h"
#include "server/admin_address.h"
#include "server/sockets_private.h"

/* ------------------------------------------------------------------ one address */

static bool is_in_plan(const struct socket_plan *plan, const struct socket_set *set)
{
    if (plan->admin == set) {
        return true;
    }
    for (size_t i = 0; i < plan->door_count; i++) {
        if (plan->doors[i].set == set) {
            return true;
        }
    }
    return false;
}

static int use(struct planning *p, const struct conf_listener *listener, struct socket_set *set)
{
    struct socket_plan *plan = p->plan;
    const char *name = sockets_keep_name(p->sockets, str_of(listener->name));
    struct socket_door *doors =
        mem_realloc_array(plan->doors, plan->door_count + 1, sizeof(*plan->doors));

    if (doors) {
        plan->doors = doors;
    }
    if (!doors || !name) {
        return -ENOMEM;
    }
    doors[plan->door_count++] = (struct socket_door){.set = set, .listener = name};
    return 0;
}

struct socket_set *sockets_find_open(const struct planning *p, const struct addr *asked,
                                     const char *path, bool is_admin)
{
    LIST_FOR_EACH (node, next, &p->sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);
        bool same = path ? set->path && strcmp(set->path, path) == 0
                         : !set->path && addr_eq(&set->asked, asked);

        if (same && (set->inherited || set->is_admin == is_admin) && !is_in_plan(p->plan, set)) {
            return set;
        }
    }
    return NULL;
}

/* A socket of ours that has this address, or a part of it, or one that it is a part of; one of
 * another user's, if there is any, for that one is in the way. NULL: none. */
static const struct socket_set *find_overlap(const struct planning *p, const struct addr *asked)
{
    const struct socket_set *found = NULL;

    LIST_FOR_EACH (node, next, &p->sockets->open) {
        const struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (!set->path && !set->inherited && set->addr.kind == asked->kind &&
            set->addr.port == asked->port && !(found && found->is_foreign) &&
            (addr_is_unspecified(&set->addr) || addr_is_unspecified(asked) ||
             addr_ip_eq(&set->addr, asked))) {
            found = set;
        }
    }
    return found;
}

int sockets_fail_bind(struct planning *p, const char *name, int error, const char *hint)
{
    (void)snprintf(p->error, p->error_cap, "cannot listen on %s: %s%s", name, strerror(-error),
                   hint);
    return error;
}

/* server.user is not told why it may not what the start could. */
static const char *hint_of(const struct addr *asked, const struct socket_set *overlap, int error)
{
    if (error == -EACCES && asked->port < IPPORT_RESERVED) {
        return "; ports below 1024 can be opened by root only, at a start";
    }
    return error == -EADDRINUSE && overlap && overlap->is_foreign
               ? "; a socket of ours on that port, which root has opened, is in the way: restart"
               : "";
}

/* The set of an address with fd_count sockets: what is open already, or a new one. */
static int get_ip(struct planning *p, const struct addr *asked, size_t fd_count, bool is_admin,
                  struct socket_set **ret)
{
    struct socket_set *set = sockets_find_open(p, asked, NULL, is_admin);
    const struct socket_set *overlap = find_overlap(p, asked);
    char name[ADDR_TEXT_MAX];
    int r;

    if (set) {
        *ret = set;
        return 0;
    }
    set = socket_set_new(&p->plan->opened, fd_count);
    if (!set) {
        return -ENOMEM;
    }
    set->is_admin = is_admin;
    set->asked = *asked;
    set->addr = *asked;
    r = listener_open_tcp(&set->addr, p->conf->server.tcp_keepalive_ms, overlap != NULL, set->fds,
                          set->fd_count);
    if (r != 0) {
        socket_set_name(set, name, sizeof(name));
        memset(set->fds, 0xff, set->fd_count * sizeof(*set->fds));
        socket_set_free(set);
        return sockets_fail_bind(p, name, r, hint_of(asked, overlap, r));
    }
    *ret = set;
    return 0;
}

static int open_ip(struct planning *p, const struct conf_listener *listener,
                   const struct addr *asked)
{
    struct socket_set *set = NULL;
    int r = get_ip(p, asked, p->sockets->workers, false, &set);

    return r == 0 ? use(p, listener, set) : r;
}

static bool is_family_missing(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static bool takes_both_families(const struct socket_set *set)
{
    int only = 1;
    socklen_t len = sizeof(only);

    return set->inherited && getsockopt(set->fds[0], IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 &&
           !only;
}

/* Both families on one port; a machine without IPv6 has the one. */
static int open_any(struct planning *p, const struct conf_bind *bind,
                    const struct conf_listener *listener)
{
    struct addr any = {.kind = ADDR_IP6, .port = bind->addr.port};
    struct socket_set *set = sockets_find_open(p, &any, NULL, false);
    int r;

    if (set && takes_both_families(set)) {
        return use(p, listener, set); /* what systemd makes of ListenStream=PORT */
    }
    any.kind = ADDR_IP4;
    r = open_ip(p, listener, &any);
    if (r != 0) {
        return r;
    }
    /* Port 0: the same one for both. */
    any = (struct addr){.kind = ADDR_IP6,
                        .port = p->plan->doors[p->plan->door_count - 1].set->addr.port};
    r = open_ip(p, listener, &any);
    if (is_family_missing(r)) {
        log_event(LOG_NOTICE, "listener", "this machine has no IPv6: listening on IPv4 alone");
        return 0;
    }
    return r;
}

static int open_unix(struct planning *p, const struct conf_bind *bind,
                     const struct conf_listener *listener)
{
    const struct unix_access who = unix_access_of(listener);
    struct socket_set *set = NULL;
    int r = sockets_get_unix(p, bind->path, &who, false, &set);

    return r == 0 ? use(p, listener, set) : r;
}

static int open_admin(struct planning *p)
{
    const struct unix_access who = unix_access_of_admin(p->conf);
    struct admin_address address;

    p->plan->origin = p->conf->admin.address.origin;
    if (!admin_address_of(p->conf, &address)) {
        return 0;
    }
    return address.is_unix ? sockets_get_unix(p, address.path, &who, true, &p->plan->admin)
                           : get_ip(p, &address.addr, 1, true, &p->plan->admin);
}

/* The inherited sockets of the listener's name. */
static int use_named(struct planning *p, const struct conf_listener *listener)
{
    int r = 0;

    LIST_FOR_EACH (node, next, &p->sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (r == 0 && set->name && strcmp(set->name, listener->name) == 0 &&
            !is_in_plan(p->plan, set)) {
            r = use(p, listener, set);
        }
    }
    return r;
}

static bool has_named(const struct planning *p, const struct conf_listener *listener)
{
    for (size_t i = 0; i < p->plan->door_count; i++) {
        const struct socket_door *door = &p->plan->doors[i];

        if (door->set->name && strcmp(door->set->name, listener->name) == 0 &&
            strcmp(door->listener, listener->name) == 0) {
            return true;
        }
    }
    return false;
}

/* All that neither an address nor a name has claimed, unless it has some of its name. */
static int use_left_over(struct planning *p, const struct conf_listener *listener)
{
    size_t used = 0;

    if (has_named(p, listener)) {
        return 0;
    }
    LIST_FOR_EACH (node, next, &p->sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (set->inherited && !is_in_plan(p->plan, set)) {
            int r = use(p, listener, set);

            if (r != 0) {
                return r;
            }
            used++;
        }
    }
    if (used == 0) {
        (void)snprintf(p->error, p->error_cap,
                       "listen %s.address = systemd: no socket was handed over for it (LISTEN_FDS)",
                       listener->name);
        return -ENOENT;
    }
    return 0;
}

static int open_bind(struct planning *p, const struct conf_bind *bind,
                     const struct conf_listener *listener)
{
    int r = 0;

    switch (bind->kind) {
    case CONF_BIND_IP:
        r = open_ip(p, listener, &bind->addr);
        if (bind->is_default && bind->addr.kind == ADDR_IP6 && is_family_missing(r)) {
            log_event(LOG_NOTICE, "listener", "this machine has no IPv6: [::1] is left out");
            r = 0;
        }
        return r;
    case CONF_BIND_ANY:
        return open_any(p, bind, listener);
    case CONF_BIND_UNIX:
        return open_unix(p, bind, listener);
    case CONF_BIND_SYSTEMD: /* see enum claim */
    case CONF_BIND_OFF:
    case CONF_BIND_AUTO:
        break;
    }
    return 0;
}

/* ------------------------------------------------------------------ all of them */

/* In what order addresses are served: an inherited socket belongs to the address it is bound to,
 * else to the listener whose name it has, else to the first that has none of its name. */
enum claim { CLAIM_ADDRESS, CLAIM_NAME, CLAIM_LEFT_OVER };

static int open_one(struct planning *p, enum claim claim, const struct conf_bind *bind,
                    const struct conf_listener *listener)
{
    bool systemd = bind->kind == CONF_BIND_SYSTEMD;

    p->plan->origin = bind->origin;
    switch (claim) {
    case CLAIM_ADDRESS:
        return systemd ? 0 : open_bind(p, bind, listener);
    case CLAIM_NAME:
        return systemd ? use_named(p, listener) : 0;
    case CLAIM_LEFT_OVER:
        return systemd ? use_left_over(p, listener) : 0;
    }
    return 0;
}

static int open_all(struct planning *p, enum claim claim)
{
    for (size_t i = 0; i < p->conf->listener_count; i++) {
        const struct conf_listener *listener = &p->conf->listeners[i];

        for (size_t k = 0; k < listener->bind_count; k++) {
            int r = open_one(p, claim, &listener->binds[k], listener);

            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}

int sockets_plan(struct sockets *sockets, const struct conf *conf, struct socket_plan *plan,
                 char *error, size_t error_cap)
{
    struct planning p = {
        .sockets = sockets, .plan = plan, .conf = conf, .error = error, .error_cap = error_cap};
    int r = 0;

    *plan = (struct socket_plan){0};
    list_init(&plan->opened);
    (void)snprintf(error, error_cap, "out of memory");
    r = open_all(&p, CLAIM_ADDRESS);
    if (r == 0) {
        r = open_admin(&p);
    }
    if (r == 0) {
        r = open_all(&p, CLAIM_NAME);
    }
    if (r == 0) {
        r = open_all(&p, CLAIM_LEFT_OVER);
    }
    if (r != 0) {
        sockets_give_up(sockets, plan);
    }
    return r;
}

void sockets_give_up(struct sockets *sockets, struct socket_plan *plan)
{
    (void)sockets;
    socket_sets_free(&plan->opened);
    mem_free(plan->doors);
    plan->doors = NULL;
    plan->door_count = 0;
    plan->admin = NULL;
}

/* Those that workers have are tuned by them. */
static void tune_shared(struct planning *p, struct socket_set *set)
{
    const uint64_t keepalive_ms = p->conf->server.tcp_keepalive_ms;

    if (!set->path && set->inherited) {
        /* What it accepts inherits these; the service manager may not have set them. */
        stream_tcp_tune(set->fds[0], keepalive_ms);
    }
}

static void warn_unused(const struct socket_set *set)
{
    char address[256];
    struct log_field fields[] = {
        LOG_TEXT("address", STR("")),
        LOG_TEXT("socket", str_of(set->name)),
    };

    socket_set_name(set, address, sizeof(address));
    fields[0].text = str_of(address);
    log_fields(LOG_WARNING, "listener", fields, set->name ? 2 : 1,
               "an inherited socket is not used by any listener");
}

void sockets_commit(struct sockets *sockets, struct socket_plan *plan, const struct conf *conf)
{
    char error[512];
    struct planning p = {
        .sockets = sockets, .plan = plan, .conf = conf, .error = error, .error_cap = sizeof(error)};

    for (size_t i = 0; i < plan->door_count; i++) {
        struct socket_set *set = plan->doors[i].set;
        const struct conf_listener *listener = conf_listener_find(conf, plan->doors[i].listener);

        tune_shared(&p, set);
        if (set->path && !set->inherited && listener) {
            const struct unix_access who = unix_access_of(listener);

            sockets_set_access(&p, &who, set);
        }
    }
    if (plan->admin && plan->admin->path && !plan->admin->inherited) {
        const struct unix_access who = unix_access_of_admin(conf);

        sockets_set_access(&p, &who, plan->admin);
    }
    list_splice_back(&sockets->open, &plan->opened);
    LIST_FOR_EACH (node, next, &sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (!set->inherited && !is_in_plan(plan, set)) {
            list_remove(&set->node);
            list_push_back(&sockets->leaving, &set->node);
        } else if (set->inherited && !is_in_plan(plan, set)) {
            warn_unused(set);
            if (!sockets->doors) {
                socket_set_free(set); /* one that was used before may be wanted again */
            }
        }
    }
    mem_free(sockets->doors);
    sockets->doors = plan->doors;
    sockets->door_count = plan->door_count;
    sockets->admin = plan->admin;
    *plan = (struct socket_plan){0};
}

struct addr *sockets_own(const struct socket_plan *plan, size_t *ret_count)
{
    struct addr *own = mem_zalloc((plan->door_count + 1) * sizeof(*own));

    *ret_count = 0;
    if (own && plan->admin && !plan->admin->path) {
        own[(*ret_count)++] = plan->admin->addr;
    }
    for (size_t i = 0; own && i < plan->door_count; i++) {
        if (!plan->doors[i].set->path) {
            own[(*ret_count)++] = plan->doors[i].set->addr;
        }
    }
    return own;
}
