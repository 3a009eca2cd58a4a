// SPDX-License-Identifier: MIT
#pragma once

/*
 * The hosts file (hosts(5)) as a map from names to addresses. All lines add
 * up; what cannot be read (a broken line, an address with a zone) is skipped.
 * Read again when it changes; when that fails the old content stays.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/map.h"
#include "base/str.h"
#include "resolve/resolver.h"
#include "resolve/watched_file.h"

#define HOSTS_MAX_ADDRS (2 * RESOLVE_MAX_ADDRS) /* of one name; more are left out */

struct hosts_table {
    struct map names;
    struct arena arena; /* the entries and their names */
    struct arena_pool chunks;
};

struct hosts_file {
    struct watched_file file;
    struct hosts_table *table; /* owned; NULL before the first reading */
};

/* The path is borrowed and outlives this. */
void hosts_file_init(struct hosts_file *hosts, const char *path);
void hosts_file_deinit(struct hosts_file *hosts);
/* Reads the file if it has changed; looks at most once a second. */
void hosts_file_refresh(struct hosts_file *hosts, uint64_t now_ms);
/* The addresses of a lower-case name: IPv6 first, then IPv4, each as wanted and in the order of the
 * file. ret_addrs has room for HOSTS_MAX_ADDRS. */
size_t hosts_file_find(const struct hosts_file *hosts, struct str name, bool want_ip4,
                       bool want_ip6, struct addr *ret_addrs);

/* The parser alone: a table of its own, freed with hosts_table_free; NULL when memory is out. */
MUST_USE struct hosts_table *hosts_table_parse(struct str content);
void hosts_table_free(struct hosts_table *table);
size_t hosts_table_find(const struct hosts_table *table, struct str name, bool want_ip4,
                        bool want_ip6, struct addr *ret_addrs);
