// SPDX-License-Identifier: MIT
#include "server/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"

int privileges_find(const char *user, uid_t *ret)
{
    const struct passwd *entry = getpwnam(user);

    if (!entry) {
        return -ENOENT;
    }
    *ret = entry->pw_uid;
    return 0;
}

int privileges_lend(const char *user)
{
    struct passwd *entry;

    errno = 0;
    entry = getpwnam(user);
    if (!entry) {
        return -ENOENT;
    }
    if (initgroups(entry->pw_name, entry->pw_gid) != 0 || setegid(entry->pw_gid) != 0 ||
        seteuid(entry->pw_uid) != 0) {
        int r = -errno;

        privileges_resume();
        return r;
    }
    return 0;
}

/* Root's real user is what gives it all back. */
void privileges_resume(void)
{
    static const gid_t root_group = 0;

    if (seteuid(getuid()) != 0 || setegid(getgid()) != 0 || setgroups(1, &root_group) != 0) {
        /* It goes on with less than it had, and fails where it needs more. */
        return;
    }
}

int privileges_drop(const char *user, char *error, size_t cap)
{
    struct passwd *entry;

    if (!user) {
        return 0;
    }
    errno = 0;
    entry = getpwnam(user);
    if (!entry) {
        (void)snprintf(error, cap, "server.user: there is no user %s", user);
        return -ENOENT;
    }
    if (geteuid() != 0 || entry->pw_uid == 0) {
        return 0;
    }
    if (initgroups(entry->pw_name, entry->pw_gid) != 0 ||
        setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) != 0 ||
        setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) != 0) {
        int r = -errno;

        (void)snprintf(error, cap, "server.user: cannot become %s: %s", user, strerror(-r));
        return r;
    }
    return 0;
}

void privileges_check(const struct conf *conf, int lent, struct conf_messages *messages)
{
    const char *user = conf->server.user;
    struct conf_origin origin = conf_origin_of(conf, "server", "user");
    uid_t uid;

    if (!user || privileges_find(user, &uid) != 0 || uid == geteuid()) {
        return;
    }
    if (geteuid() != 0) {
        conf_messages_add(messages, true, origin,
                          "server.user = %s: only root can become another user", user);
    } else if (lent != 0) {
        conf_messages_add(messages, true, origin,
                          "server.user = %s: a start will fail, for it cannot become that user: %s",
                          user, strerror(-lent));
    }
    conf_messages_sort(messages);
}
