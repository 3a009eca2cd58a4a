// SPDX-License-Identifier: MIT
#pragma once

/*
 * The name servers of resolv.conf(5), and nothing else of it: search lists
 * and ndots would ask for names nobody wrote, and policy has judged the name
 * as it was written.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "resolve/watched_file.h"

#define RESOLV_CONF_PATH "/etc/resolv.conf"
#define RESOLV_CONF_MAX_SERVERS 3 /* MAXNS of resolv.h: what libc would use */

struct resolv_conf {
    struct addr servers[RESOLV_CONF_MAX_SERVERS]; /* port 53 */
    size_t count;                                 /* 1 or more */
};

/* Lines "nameserver ADDR"; an address with a zone is skipped. With none: 127.0.0.1, as libc does.
 */
void resolv_conf_parse(struct str content, struct resolv_conf *ret);
/* Reads the file; one that is not there has no servers. 0, or negative errno with *ret untouched.
 */
MUST_USE int resolv_conf_read(const struct watched_file *file, struct resolv_conf *ret);
bool resolv_conf_eq(const struct resolv_conf *a, const struct resolv_conf *b);
