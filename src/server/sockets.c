// SPDX-License-Identifier: MIT
#include "server/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "io/listener.h"
#include "io/stream_tcp.h"
#include "log/log.h"

#define FIRST_INHERITED_FD 3 /* sd_listen_fds(3) */

/* The name of a listener, kept for good: connections outlive the configuration they came by. */
struct listener_name {
    struct list node;
    char text[];
};

struct planning {
    struct sockets *sockets;
    struct socket_plan *plan;
    const struct conf *conf;
    char *error;
    size_t error_cap;
};

void socket_set_name(const struct socket_set *set, char *dst, size_t cap)
{
    struct text text = text_over(dst, cap);

    if (set->path) {
        text_puts(&text, "unix:");
        text_puts(&text, set->path);
    } else {
        addr_put_port(&text, &set->addr);
    }
    (void)text_cstr(&text);
}

/* ------------------------------------------------------------------ sets */

/* In list, its descriptors -1; NULL: memory is out. */
static struct socket_set *set_new(struct list *list, size_t fd_count)
{
    struct socket_set *set = mem_zalloc(sizeof(*set));

    if (!set) {
        return NULL;
    }
    set->fds = mem_alloc(fd_count * sizeof(*set->fds));
    if (!set->fds) {
        mem_free(set);
        return NULL;
    }
    memset(set->fds, 0xff, fd_count * sizeof(*set->fds));
    set->fd_count = fd_count;
    set->gid = (gid_t)-1;
    list_init(&set->node);
    list_push_back(list, &set->node);
    return set;
}

/* Closes what no worker has; the file of a unix socket of ours goes. */
static void set_stop(struct socket_set *set)
{
    for (size_t k = 0; k < set->fd_count; k++) {
        if (set->fds[k] >= 0) {
            (void)close(set->fds[k]);
            set->fds[k] = -1;
            if (set->path && !set->inherited) {
                (void)unlink(set->path);
            }
        }
    }
}

static void set_free(struct socket_set *set)
{
    set_stop(set);
    list_remove(&set->node);
    mem_free((char *)(uintptr_t)set->path);
    mem_free(set->fds);
    mem_free(set);
}

static void free_all(struct list *sets)
{
    while (!list_empty(sets)) {
        set_free(LIST_FIRST(sets, struct socket_set, node));
    }
}

/* ------------------------------------------------------------------ what was handed over */

static size_t inherited_count(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *fds = getenv("LISTEN_FDS");
    uint64_t count = 0;
    uint64_t for_pid;

    if (!pid || !fds || !str_parse_u64(str_of(pid), INT32_MAX, &for_pid) ||
        for_pid != (uint64_t)getpid() || !str_parse_u64(str_of(fds), 1024, &count)) {
        return 0;
    }
    return (size_t)count;
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

static int take_inherited(struct sockets *sockets, int fd, char *error, size_t error_cap)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(sa);
    struct socket_set *set;

    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (!is_listening(fd) || getsockname(fd, (struct sockaddr *)&sa, &len) != 0) {
        (void)snprintf(error, error_cap, "inherited descriptor %d is no listening socket", fd);
        return -ENOTSOCK;
    }
    set = set_new(&sockets->open, 1);
    if (!set) {
        return -ENOMEM;
    }
    set->inherited = true;
    if (sa.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&sa;

        set->path = mem_strndup(un->sun_path, strnlen(un->sun_path, sizeof(un->sun_path)));
        set->addr.kind = ADDR_UNIX;
    } else {
        set->addr = addr_from_sockaddr(&sa);
    }
    set->asked = set->addr;
    set->fds[0] = fd;
    return set->path || sa.ss_family != AF_UNIX ? 0 : -ENOMEM;
}

int sockets_init(struct sockets *sockets, size_t workers, char *error, size_t error_cap)
{
    size_t count = inherited_count();
    int r = 0;

    *sockets = (struct sockets){.workers = workers};
    list_init(&sockets->open);
    list_init(&sockets->leaving);
    list_init(&sockets->names);
    (void)snprintf(error, error_cap, "out of memory");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    for (size_t i = 0; i < count && r == 0; i++) {
        r = take_inherited(sockets, FIRST_INHERITED_FD + (int)i, error, error_cap);
    }
    return r;
}

/* ------------------------------------------------------------------ one address */

static const char *keep_name(struct sockets *sockets, const char *text)
{
    size_t size = strlen(text) + 1;
    struct listener_name *name;

    LIST_FOR_EACH (node, next, &sockets->names) {
        name = LIST_ITEM(node, struct listener_name, node);
        if (strcmp(name->text, text) == 0) {
            return name->text;
        }
    }
    name = mem_alloc(sizeof(*name) + size);
    if (!name) {
        return NULL;
    }
    memcpy(name->text, text, size);
    list_push_back(&sockets->names, &name->node);
    return name->text;
}

static bool is_in_plan(const struct socket_plan *plan, const struct socket_set *set)
{
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
    const char *name = keep_name(p->sockets, listener->name);
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

/* What is open already, ours or inherited, and not used by this plan yet; NULL: nothing. */
static struct socket_set *find_open(const struct planning *p, const struct addr *asked,
                                    const char *path)
{
    LIST_FOR_EACH (node, next, &p->sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);
        bool same = path ? set->path && strcmp(set->path, path) == 0
                         : !set->path && addr_eq(&set->asked, asked);

        if (same && !is_in_plan(p->plan, set)) {
            return set;
        }
    }
    return NULL;
}

/* Some other address of this port is ours: the new one may overlap it. */
static bool has_port(const struct planning *p, uint16_t port)
{
    LIST_FOR_EACH (node, next, &p->sockets->open) {
        const struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (!set->path && !set->inherited && set->addr.port == port) {
            return true;
        }
    }
    return false;
}

static int fail_bind(struct planning *p, const char *name, int error)
{
    (void)snprintf(p->error, p->error_cap, "cannot listen on %s: %s", name, strerror(-error));
    return error;
}

static int open_ip(struct planning *p, const struct conf_listener *listener,
                   const struct addr *asked)
{
    struct socket_set *set = find_open(p, asked, NULL);
    char name[ADDR_TEXT_MAX];
    int r;

    if (set) {
        return use(p, listener, set);
    }
    set = set_new(&p->plan->opened, p->sockets->workers);
    if (!set) {
        return -ENOMEM;
    }
    set->asked = *asked;
    set->addr = *asked;
    r = listener_open_tcp(&set->addr, p->conf->server.tcp_keepalive_ms, has_port(p, asked->port),
                          set->fds, set->fd_count);
    if (r != 0) {
        socket_set_name(set, name, sizeof(name));
        memset(set->fds, 0xff, set->fd_count * sizeof(*set->fds));
        set_free(set);
        return fail_bind(p, name, r);
    }
    return use(p, listener, set);
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
    struct socket_set *set = find_open(p, &any, NULL);
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

static int find_group(struct planning *p, const struct conf_listener *listener, gid_t *ret)
{
    struct group *group;

    *ret = (gid_t)-1;
    if (!listener->group) {
        return 0;
    }
    group = getgrnam(listener->group);
    if (!group) {
        (void)snprintf(p->error, p->error_cap, "listen %s.group: there is no group %s",
                       listener->name, listener->group);
        return -EINVAL;
    }
    *ret = group->gr_gid;
    return 0;
}

static int open_unix(struct planning *p, const struct conf_bind *bind,
                     const struct conf_listener *listener)
{
    struct socket_set *set = find_open(p, NULL, bind->path);
    char name[256];
    gid_t group;
    int r;

    if (set) {
        return use(p, listener, set);
    }
    r = find_group(p, listener, &group);
    if (r != 0) {
        return r;
    }
    set = set_new(&p->plan->opened, 1);
    if (!set) {
        return -ENOMEM;
    }
    set->addr = (struct addr){.kind = ADDR_UNIX};
    set->asked = set->addr;
    set->mode = listener->mode;
    set->gid = group;
    set->path = mem_strdup(bind->path);
    r = set->path ? listener_open_unix(bind->path, listener->mode, group, &set->fds[0]) : -ENOMEM;
    if (r != 0) {
        (void)snprintf(name, sizeof(name), "unix:%s", bind->path);
        return fail_bind(p, name, r);
    }
    return use(p, listener, set);
}

/* All that no configured address has claimed. */
static int use_systemd(struct planning *p, const struct conf_listener *listener)
{
    size_t used = 0;

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
                       "listen %s.address = systemd: no socket was handed over (LISTEN_FDS)",
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
    case CONF_BIND_SYSTEMD:
        break; /* what is left, when all others have theirs */
    }
    return 0;
}

/* ------------------------------------------------------------------ all of them */

static int open_all(struct planning *p, bool systemd)
{
    for (size_t i = 0; i < p->conf->listener_count; i++) {
        const struct conf_listener *listener = &p->conf->listeners[i];

        for (size_t k = 0; k < listener->bind_count; k++) {
            const struct conf_bind *bind = &listener->binds[k];
            int r;

            if ((bind->kind == CONF_BIND_SYSTEMD) != systemd) {
                continue;
            }
            p->plan->origin = bind->origin;
            r = systemd ? use_systemd(p, listener) : open_bind(p, bind, listener);
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
    int r;

    *plan = (struct socket_plan){0};
    list_init(&plan->opened);
    (void)snprintf(error, error_cap, "out of memory");
    r = open_all(&p, false);
    if (r == 0) {
        r = open_all(&p, true);
    }
    if (r != 0) {
        sockets_give_up(sockets, plan);
    }
    return r;
}

void sockets_give_up(struct sockets *sockets, struct socket_plan *plan)
{
    (void)sockets;
    free_all(&plan->opened);
    mem_free(plan->doors);
    plan->doors = NULL;
    plan->door_count = 0;
}

/* A unix socket of ours that stays may have other permissions now. */
static void set_permissions(struct planning *p, const struct conf_listener *listener,
                            struct socket_set *set)
{
    gid_t group;

    if (find_group(p, listener, &group) != 0) {
        log_event(LOG_WARNING, "listener", "%s", p->error);
        return;
    }
    if ((group != set->gid && chown(set->path, (uid_t)-1, group) != 0) ||
        (listener->mode != set->mode && chmod(set->path, listener->mode) != 0)) {
        log_event(LOG_WARNING, "listener", "unix:%s: cannot change its permissions: %s", set->path,
                  strerror(errno));
        return;
    }
    set->gid = group;
    set->mode = listener->mode;
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
            set_permissions(&p, listener, set);
        }
    }
    list_splice_back(&sockets->open, &plan->opened);
    LIST_FOR_EACH (node, next, &sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (!set->inherited && !is_in_plan(plan, set)) {
            list_remove(&set->node);
            list_push_back(&sockets->leaving, &set->node);
        } else if (set->inherited && !is_in_plan(plan, set)) {
            log_event(LOG_WARNING, "listener", "an inherited socket is not used by any listener");
            if (!sockets->doors) {
                set_free(set); /* one that was used before may be wanted again */
            }
        }
    }
    mem_free(sockets->doors);
    sockets->doors = plan->doors;
    sockets->door_count = plan->door_count;
    *plan = (struct socket_plan){0};
}

struct addr *sockets_own(const struct socket_plan *plan, size_t *ret_count)
{
    struct addr *own = mem_zalloc((plan->door_count + 1) * sizeof(*own));

    *ret_count = 0;
    for (size_t i = 0; own && i < plan->door_count; i++) {
        if (!plan->doors[i].set->path) {
            own[(*ret_count)++] = plan->doors[i].set->addr;
        }
    }
    return own;
}

void sockets_sweep(struct sockets *sockets)
{
    free_all(&sockets->leaving);
}

void sockets_stop(struct sockets *sockets)
{
    LIST_FOR_EACH (node, next, &sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (!set->inherited) {
            set_stop(set);
        }
    }
    sockets_sweep(sockets);
}

void sockets_close(struct sockets *sockets)
{
    if (!sockets->open.next) {
        return; /* not even begun */
    }
    free_all(&sockets->open);
    free_all(&sockets->leaving);
    while (!list_empty(&sockets->names)) {
        struct listener_name *name = LIST_FIRST(&sockets->names, struct listener_name, node);

        list_remove(&name->node);
        mem_free(name);
    }
    mem_free(sockets->doors);
    *sockets = (struct sockets){0};
}
