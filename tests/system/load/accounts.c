// SPDX-License-Identifier: MIT

/*
 * For LD_PRELOAD: an account database that knows every group. While there is
 * the file ACCOUNTS_HANG it has no answer for the main thread of a process.
 */

#include <grp.h>
#include <stdlib.h>
#include <unistd.h>

static void answer(struct group *group, const char *name)
{
    static char *nobody[] = {NULL};
    const char *hang = getenv("ACCOUNTS_HANG");

    while (hang && gettid() == getpid() && access(hang, F_OK) == 0) {
        (void)pause();
    }
    *group = (struct group){.gr_name = (char *)name, .gr_gid = getegid(), .gr_mem = nobody};
}

struct group *getgrnam(const char *name)
{
    static struct group group;

    answer(&group, name);
    return &group;
}

int getgrnam_r(const char *name, struct group *group, char *buf, size_t cap, struct group **ret)
{
    (void)buf;
    (void)cap;
    answer(group, name);
    *ret = group;
    return 0;
}
