// SPDX-License-Identifier: MIT

/* The unix sockets of a plan, and who may connect to them. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/listener.h"
#include "log/log.h"
#include "server/sockets_private.h"

struct unix_access unix_access_of(const struct conf_listener *listener)
{
    return (struct unix_access){.kind = "listen ",
                                .name = listener->name,
                                .mode = listener->mode,
                                .group = listener->group,
                                .gid = listener->gid};
}

struct unix_access unix_access_of_admin(const struct conf *conf)
{
    return (struct unix_access){.kind = "",
                                .name = "admin",
                                .mode = conf->admin.mode,
                                .group = conf->admin.group,
                                .gid = conf->admin.gid};
}

static int require_group(struct planning *p, const struct unix_access *who)
{
    if (!who->group || who->gid != (gid_t)-1) {
        return 0;
    }
    (void)snprintf(p->error, p->error_cap, "%s%s.group: %s cannot be looked up just now", who->kind,
                   who->name, who->group);
    return -EAGAIN;
}

static int open_unix_set(struct socket_set *set, const char *path)
{
    struct stat st;
    int r;

    set->path = mem_strdup(path);
    if (!set->path) {
        return -ENOMEM;
    }
    r = listener_open_unix(path, set->mode, set->gid, &set->fds[0]);
    if (r == 0 && lstat(path, &st) != 0) {
        r = -errno;
    }
    if (r == 0) {
        set->device = st.st_dev;
        set->inode = st.st_ino;
    }
    return r;
}

/* One of ours whose file was removed is one that nobody can reach any more. */
static bool is_reachable(const struct socket_set *set)
{
    return set->inherited || socket_set_has_file(set);
}

/* Who waits in the queue of the one would be served by the other. */
static const char *hint_of_path(const struct planning *p, const char *path, bool is_admin,
                                int error)
{
    const struct socket_set *other =
        error == -EADDRINUSE ? sockets_find_open(p, NULL, path, !is_admin) : NULL;

    return other && is_reachable(other) ? "; by ourselves, for another purpose: give it up in one "
                                          "reload, and take it in the next"
                                        : "";
}

static int new_unix(struct planning *p, const char *path, const struct unix_access *who,
                    bool is_admin, struct socket_set **ret)
{
    struct socket_set *set;
    char name[256];
    int r = require_group(p, who);

    if (r != 0) {
        return r;
    }
    set = socket_set_new(&p->plan->opened, 1);
    if (!set) {
        return -ENOMEM;
    }
    set->is_admin = is_admin;
    set->addr = (struct addr){.kind = ADDR_UNIX};
    set->asked = set->addr;
    set->mode = who->mode;
    set->gid = who->gid;
    r = open_unix_set(set, path);
    if (r != 0) {
        (void)snprintf(name, sizeof(name), "unix:%s", path);
        r = sockets_fail_bind(p, name, r, hint_of_path(p, path, is_admin, r));
        socket_set_free(set);
        return r;
    }
    *ret = set;
    return 0;
}

/* server.user may not make a file where root could at the start. */
static bool is_out_of_reach(int error)
{
    return error == -EACCES || error == -EPERM || error == -EROFS || error == -ENOENT;
}

/* One that was lost and cannot be made anew stays as it is: no new rule is to wait for that. */
int sockets_get_unix(struct planning *p, const char *path, const struct unix_access *who,
                     bool is_admin, struct socket_set **ret)
{
    struct socket_set *set = sockets_find_open(p, NULL, path, is_admin);
    int r;

    if (set && is_reachable(set)) {
        *ret = set;
        return 0;
    }
    r = new_unix(p, path, who, is_admin, ret);
    if (set && is_out_of_reach(r)) {
        log_event(LOG_WARNING, "listener",
                  "unix:%s: its file is gone, and cannot be made anew: %s; nobody can come by it: "
                  "restart",
                  path, strerror(-r));
        *ret = set;
        return 0;
    }
    return r;
}

/* Why the owner of a file may not: it gives it to groups that it belongs to only. */
static const char *hint_of_permissions(const struct socket_set *set, gid_t group, int error)
{
    if (error != -EPERM) {
        return "";
    }
    if (set->is_foreign) {
        return "; root has opened it: restart";
    }
    return group != set->gid ? "; server.user is no member of that group: restart" : "";
}

void sockets_set_access(struct planning *p, const struct unix_access *who, struct socket_set *set)
{
    gid_t given = (gid_t)-1;
    int r;

    if (require_group(p, who) != 0) {
        log_event(LOG_WARNING, "listener", "%s", p->error);
        return;
    }
    if (who->gid == set->gid && who->mode == set->mode) {
        return;
    }
    if (who->gid != set->gid) {
        given = who->gid == (gid_t)-1 ? getegid() : who->gid;
    }
    r = listener_change_unix(set->path, (uid_t)-1, given, &who->mode);
    if (r != 0) {
        log_event(LOG_WARNING, "listener", "unix:%s: cannot change its permissions: %s%s",
                  set->path, strerror(-r), hint_of_permissions(set, who->gid, r));
        return;
    }
    set->gid = who->gid;
    set->mode = who->mode;
}
