// SPDX-License-Identifier: MIT
#include "server/sockets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "io/listener.h"
#include "server/inherited.h"
#include "server/sockets_private.h"

/* The name of a listener: connections outlive the configuration they came by. */
struct kept_name {
    struct list node;
    char text[];
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

struct socket_set *socket_set_new(struct list *list, size_t fd_count)
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

bool socket_set_has_file(const struct socket_set *set)
{
    struct stat st;

    if (lstat(set->path, &st) != 0) {
        return errno != ENOENT && errno != ENOTDIR;
    }
    return st.st_dev == set->device && st.st_ino == set->inode;
}

/* Closes what no worker has; the file of a unix socket of ours goes. */
static void set_stop(struct socket_set *set)
{
    for (size_t k = 0; k < set->fd_count; k++) {
        if (set->fds[k] >= 0) {
            if (set->path && !set->inherited && socket_set_has_file(set)) {
                (void)unlink(set->path);
            }
            (void)close(set->fds[k]);
            set->fds[k] = -1;
        }
    }
}

void socket_set_free(struct socket_set *set)
{
    set_stop(set);
    list_remove(&set->node);
    mem_free((char *)(uintptr_t)set->path);
    mem_free(set->fds);
    mem_free(set);
}

void socket_sets_free(struct list *sets)
{
    while (!list_empty(sets)) {
        socket_set_free(LIST_FIRST(sets, struct socket_set, node));
    }
}

/* ------------------------------------------------------------------ what was handed over */

/* The name is of a listener, or of a socket: kept for good. NULL: memory is out. */
const char *sockets_keep_name(struct sockets *sockets, struct str text)
{
    struct kept_name *name;

    LIST_FOR_EACH (node, next, &sockets->names) {
        name = LIST_ITEM(node, struct kept_name, node);
        if (str_eq(str_of(name->text), text)) {
            return name->text;
        }
    }
    name = mem_alloc(sizeof(*name) + text.len + 1);
    if (!name) {
        return NULL;
    }
    if (text.len > 0) {
        memcpy(name->text, text.ptr, text.len);
    }
    name->text[text.len] = '\0';
    list_push_back(&sockets->names, &name->node);
    return name->text;
}

/* The path of a unix socket, @NAME of an abstract one; NULL: memory is out. */
static char *dup_path(const struct sockaddr_un *un)
{
    char path[sizeof(un->sun_path) + 1] = "@";
    bool is_abstract = un->sun_path[0] == '\0';

    memcpy(path + is_abstract, un->sun_path + is_abstract, sizeof(un->sun_path) - is_abstract);
    return mem_strdup(path);
}

static int take_inherited(struct sockets *sockets, size_t i, char *error, size_t error_cap)
{
    struct str name = inherited_name(i);
    struct sockaddr_storage sa;
    int fd = inherited_take(i, &sa, error, error_cap);
    struct socket_set *set = fd >= 0 ? socket_set_new(&sockets->open, 1) : NULL;

    if (!set) {
        return fd < 0 ? fd : -ENOMEM;
    }
    set->inherited = true;
    set->fds[0] = fd;
    if (sa.ss_family == AF_UNIX) {
        set->path = dup_path((const struct sockaddr_un *)(const void *)&sa);
        set->addr.kind = ADDR_UNIX;
    } else {
        set->addr = addr_from_sockaddr(&sa);
    }
    set->asked = set->addr;
    set->name = name.len > 0 ? sockets_keep_name(sockets, name) : NULL;
    return (sa.ss_family == AF_UNIX && !set->path) || (name.len > 0 && !set->name) ? -ENOMEM : 0;
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
    for (size_t i = 0; i < count && r == 0; i++) {
        r = take_inherited(sockets, i, error, error_cap);
    }
    inherited_forget();
    return r;
}

/* SO_REUSEPORT lets sockets of one user share a port; whose a socket is stands in its inode, and
 * fchown(2) writes it there. Of a unix socket it is the file that counts. */
static int give_to(const struct socket_set *set, uid_t uid)
{
    if (set->path) {
        return listener_change_unix(set->path, uid, (gid_t)-1, NULL);
    }
    for (size_t k = 0; k < set->fd_count; k++) {
        if (fchown(set->fds[k], uid, (gid_t)-1) != 0) {
            return -errno;
        }
    }
    return 0;
}

void sockets_give_to(struct sockets *sockets, uid_t uid)
{
    LIST_FOR_EACH (node, next, &sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);
        int r = set->inherited ? 0 : give_to(set, uid);

        set->is_foreign = r != 0;
        sockets->give_error = r != 0 ? r : sockets->give_error;
    }
}

void sockets_sweep(struct sockets *sockets)
{
    socket_sets_free(&sockets->leaving);
}

void sockets_stop(struct sockets *sockets)
{
    if (!sockets->open.next) {
        return; /* closed: the start failed with workers already running */
    }
    LIST_FOR_EACH (node, next, &sockets->open) {
        struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (!set->inherited && !set->is_admin) {
            set_stop(set);
        }
    }
}

void sockets_close(struct sockets *sockets)
{
    if (!sockets->open.next) {
        return; /* not even begun */
    }
    socket_sets_free(&sockets->open);
    socket_sets_free(&sockets->leaving);
    while (!list_empty(&sockets->names)) {
        struct kept_name *name = LIST_FIRST(&sockets->names, struct kept_name, node);

        list_remove(&name->node);
        mem_free(name);
    }
    mem_free(sockets->doors);
    *sockets = (struct sockets){0};
}
