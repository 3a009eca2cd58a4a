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
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "conf/conf.h"
#include "io/listener.h"
#include "io/stream_tcp.h"
#include "log/log.h"

#define FIRST_INHERITED_FD 3 /* sd_listen_fds(3) */

/* A socket the service manager handed over. */
struct inherited {
    int fd; /* -1: used */
    struct addr addr;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
};

struct opening {
    struct sockets *sockets;
    const struct conf *conf;
    size_t workers;
    struct inherited *inherited; /* owned */
    size_t inherited_count;
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

static int read_inherited(struct opening *o)
{
    size_t count = inherited_count();

    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    if (count == 0) {
        return 0;
    }
    o->inherited = mem_zalloc(count * sizeof(*o->inherited));
    if (!o->inherited) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct inherited *in = &o->inherited[i];
        struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof(sa);

        in->fd = FIRST_INHERITED_FD + (int)i;
        (void)fcntl(in->fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(in->fd, F_SETFL, fcntl(in->fd, F_GETFL) | O_NONBLOCK);
        if (!is_listening(in->fd) || getsockname(in->fd, (struct sockaddr *)&sa, &len) != 0) {
            (void)snprintf(o->error, o->error_cap, "inherited descriptor %d is no listening socket",
                           in->fd);
            return -ENOTSOCK;
        }
        if (sa.ss_family == AF_UNIX) {
            const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&sa;

            (void)snprintf(in->path, sizeof(in->path), "%.*s", (int)sizeof(un->sun_path),
                           un->sun_path);
        } else {
            in->addr = addr_from_sockaddr(&sa);
        }
    }
    o->inherited_count = count;
    return 0;
}

/* The inherited socket that is bound to this address, or NULL. */
static struct inherited *find_inherited(struct opening *o, const struct addr *addr,
                                        const char *path)
{
    for (size_t i = 0; i < o->inherited_count; i++) {
        struct inherited *in = &o->inherited[i];

        if (in->fd >= 0 && (path ? strcmp(in->path, path) == 0
                                 : in->path[0] == '\0' && addr_eq(&in->addr, addr))) {
            return in;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ one address */

static struct socket_set *add_set(struct opening *o, const struct conf_listener *listener,
                                  size_t fd_count)
{
    struct sockets *sockets = o->sockets;
    struct socket_set *sets =
        mem_realloc_array(sockets->sets, sockets->count + 1, sizeof(*sockets->sets));
    struct socket_set *set;

    if (!sets) {
        return NULL;
    }
    sockets->sets = sets;
    set = &sets[sockets->count];
    *set = (struct socket_set){.listener = listener};
    set->fds = mem_alloc(fd_count * sizeof(*set->fds));
    if (!set->fds) {
        return NULL;
    }
    memset(set->fds, 0xff, fd_count * sizeof(*set->fds));
    set->fd_count = fd_count;
    sockets->count++;
    return set;
}

static int use_inherited(struct opening *o, const struct conf_listener *listener,
                         struct inherited *in)
{
    struct socket_set *set = add_set(o, listener, 1);

    if (!set) {
        return -ENOMEM;
    }
    set->inherited = true;
    set->addr = in->addr;
    if (in->path[0] != '\0') {
        set->path = mem_strdup(in->path);
        set->addr.kind = ADDR_UNIX;
    }
    set->fds[0] = in->fd;
    in->fd = -1;
    /* What it accepts inherits these; the service manager may not have set them. */
    stream_tcp_tune(set->fds[0], o->conf->server.tcp_keepalive_ms);
    return 0;
}

static int fail_bind(struct opening *o, const char *name, int error)
{
    (void)snprintf(o->error, o->error_cap, "cannot listen on %s: %s", name, strerror(-error));
    return error;
}

static int open_ip(struct opening *o, const struct conf_listener *listener, const struct addr *addr)
{
    struct inherited *in = find_inherited(o, addr, NULL);
    struct socket_set *set;
    char name[ADDR_TEXT_MAX];
    int r;

    if (in) {
        return use_inherited(o, listener, in);
    }
    set = add_set(o, listener, o->workers);
    if (!set) {
        return -ENOMEM;
    }
    set->addr = *addr;
    r = listener_open_tcp(&set->addr, o->conf->server.tcp_keepalive_ms, set->fds, set->fd_count);
    if (r != 0) {
        socket_set_name(set, name, sizeof(name));
        memset(set->fds, 0xff, set->fd_count * sizeof(*set->fds));
        mem_free(set->fds);
        o->sockets->count--;
        return fail_bind(o, name, r);
    }
    return 0;
}

static bool is_family_missing(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static bool takes_both_families(int fd)
{
    int only = 1;
    socklen_t len = sizeof(only);

    return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 && !only;
}

/* Both families on one port; a machine without IPv6 has the one. */
static int open_any(struct opening *o, const struct conf_bind *bind,
                    const struct conf_listener *listener)
{
    struct addr any = {.kind = ADDR_IP6, .port = bind->addr.port};
    struct inherited *in = find_inherited(o, &any, NULL);
    int r;

    if (in && takes_both_families(in->fd)) {
        return use_inherited(o, listener, in); /* what systemd makes of ListenStream=PORT */
    }
    any.kind = ADDR_IP4;
    r = open_ip(o, listener, &any);

    if (r != 0) {
        return r;
    }
    /* Port 0: the same one for both. */
    any =
        (struct addr){.kind = ADDR_IP6, .port = o->sockets->sets[o->sockets->count - 1].addr.port};
    r = open_ip(o, listener, &any);
    if (is_family_missing(r)) {
        log_event(LOG_NOTICE, "listener", "this machine has no IPv6: listening on IPv4 alone");
        return 0;
    }
    return r;
}

static int find_group(struct opening *o, const struct conf_listener *listener, gid_t *ret)
{
    struct group *group;

    *ret = (gid_t)-1;
    if (!listener->group) {
        return 0;
    }
    group = getgrnam(listener->group);
    if (!group) {
        (void)snprintf(o->error, o->error_cap, "listen %s.group: there is no group %s",
                       listener->name, listener->group);
        return -EINVAL;
    }
    *ret = group->gr_gid;
    return 0;
}

static int open_unix(struct opening *o, const struct conf_bind *bind,
                     const struct conf_listener *listener)
{
    struct inherited *in = find_inherited(o, NULL, bind->path);
    struct socket_set *set;
    char name[256];
    gid_t group;
    int r;

    if (in) {
        return use_inherited(o, listener, in);
    }
    r = find_group(o, listener, &group);
    if (r != 0) {
        return r;
    }
    set = add_set(o, listener, 1);
    if (!set) {
        return -ENOMEM;
    }
    set->addr = (struct addr){.kind = ADDR_UNIX};
    set->path = mem_strdup(bind->path);
    r = listener_open_unix(bind->path, listener->mode, group, &set->fds[0]);
    if (r != 0) {
        set->inherited = true; /* not ours to remove */
        (void)snprintf(name, sizeof(name), "unix:%s", bind->path);
        return fail_bind(o, name, r);
    }
    return 0;
}

/* All that no configured address has claimed. */
static int open_systemd(struct opening *o, const struct conf_listener *listener)
{
    size_t used = 0;

    for (size_t i = 0; i < o->inherited_count; i++) {
        if (o->inherited[i].fd >= 0) {
            int r = use_inherited(o, listener, &o->inherited[i]);

            if (r != 0) {
                return r;
            }
            used++;
        }
    }
    if (used == 0) {
        (void)snprintf(o->error, o->error_cap,
                       "listen %s.address = systemd: no socket was handed over (LISTEN_FDS)",
                       listener->name);
        return -ENOENT;
    }
    return 0;
}

static int open_bind(struct opening *o, const struct conf_bind *bind,
                     const struct conf_listener *listener)
{
    int r = 0;

    switch (bind->kind) {
    case CONF_BIND_IP:
        r = open_ip(o, listener, &bind->addr);
        if (bind->is_default && bind->addr.kind == ADDR_IP6 && is_family_missing(r)) {
            log_event(LOG_NOTICE, "listener", "this machine has no IPv6: [::1] is left out");
            r = 0;
        }
        return r;
    case CONF_BIND_ANY:
        return open_any(o, bind, listener);
    case CONF_BIND_UNIX:
        return open_unix(o, bind, listener);
    case CONF_BIND_SYSTEMD:
        break; /* what is left, when all others have theirs */
    }
    return 0;
}

/* ------------------------------------------------------------------ all of them */

static int open_all(struct opening *o, bool systemd)
{
    for (size_t i = 0; i < o->conf->listener_count; i++) {
        const struct conf_listener *listener = &o->conf->listeners[i];

        for (size_t k = 0; k < listener->bind_count; k++) {
            const struct conf_bind *bind = &listener->binds[k];
            int r;

            if ((bind->kind == CONF_BIND_SYSTEMD) != systemd) {
                continue;
            }
            r = systemd ? open_systemd(o, listener) : open_bind(o, bind, listener);
            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}

static int note_own(struct sockets *sockets)
{
    sockets->own = mem_zalloc((sockets->count + 1) * sizeof(*sockets->own));
    if (!sockets->own) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < sockets->count; i++) {
        if (!sockets->sets[i].path) {
            sockets->own[sockets->own_count++] = sockets->sets[i].addr;
        }
    }
    return 0;
}

int sockets_open(struct sockets *sockets, const struct conf *conf, size_t workers, char *error,
                 size_t error_cap)
{
    struct opening o = {.sockets = sockets,
                        .conf = conf,
                        .workers = workers,
                        .error = error,
                        .error_cap = error_cap};
    int r;

    *sockets = (struct sockets){0};
    (void)snprintf(error, error_cap, "out of memory");
    r = read_inherited(&o);
    if (r == 0) {
        r = open_all(&o, false);
    }
    if (r == 0) {
        r = open_all(&o, true);
    }
    if (r == 0) {
        r = note_own(sockets);
    }
    for (size_t i = 0; i < o.inherited_count; i++) {
        if (o.inherited[i].fd >= 0) {
            log_event(LOG_WARNING, "listener", "an inherited socket is not used by any listener");
            (void)close(o.inherited[i].fd);
        }
    }
    mem_free(o.inherited);
    if (r != 0) {
        sockets_close(sockets);
    }
    return r;
}

static void stop_set(struct socket_set *set)
{
    for (size_t k = 0; k < set->fd_count; k++) {
        if (set->fds[k] >= 0) {
            (void)close(set->fds[k]);
            set->fds[k] = -1;
        }
    }
    if (set->path && !set->inherited) {
        (void)unlink(set->path);
        set->inherited = true; /* the file is no longer ours */
    }
}

void sockets_stop(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (!sockets->sets[i].inherited) {
            stop_set(&sockets->sets[i]);
        }
    }
}

void sockets_close(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        stop_set(&sockets->sets[i]);
        mem_free((char *)(uintptr_t)sockets->sets[i].path);
        mem_free(sockets->sets[i].fds);
    }
    mem_free(sockets->sets);
    mem_free(sockets->own);
    *sockets = (struct sockets){0};
}
