// SPDX-License-Identifier: MIT
#pragma once

/*
 * Lists of host names, millions long: what `hosts FILE` matches. A list is
 * read from its file in one go, in any thread (it takes a second or so: not
 * on an event loop), then never changes, so that threads and generations of
 * the configuration share it. A file that has not changed is not read again.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/file.h"
#include "base/str.h"

struct conf_messages;
struct domains;

/* What was found in a file. A hosts-file's line may count several times, once for each name. */
struct domains_counts {
    size_t names;     /* listed, each once and none below another that lists all below it */
    size_t folded;    /* names that the others made needless */
    size_t filters;   /* lines of other filter syntax (@@, $, paths, wildcards within a name) */
    size_t addresses; /* addresses without a name */
    size_t locals;    /* names of a hosts-file's usual head: localhost, ip6-allnodes, ... */
    size_t foreign;   /* names that are not ASCII */
    size_t broken;    /* lines that are nothing of this */
};

/* Reads a list. Adds warnings to messages with file and line: the first ten broken lines, how many
 * more there are, and that nothing is listed. 0 with *ret holding one reference; FILE_NOT_REGULAR;
 * -ENOMEM, -EFBIG beyond 4 GiB of names, or the errno of open(2) or read(2). Then no message was
 * added about it: the caller knows the line that names the file. */
MUST_USE int domains_load(const char *path, struct conf_messages *messages, struct domains **ret);
/* The same from text, for which no file stands: path is for the messages only. */
MUST_USE int domains_parse(struct str text, const char *path, struct conf_messages *messages,
                           struct domains **ret);
void domains_unref(struct domains *domains); /* accepts NULL */

/* Whether name (lower case, no trailing dot, as in struct host) is listed. */
bool domains_has(const struct domains *domains, struct str name);

const struct domains_counts *domains_counts(const struct domains *domains);

/* The lists of one generation, each file once. All zero is the empty shelf. */
struct domains_shelf {
    struct domains **items; /* owned, each a shared ref */
    size_t count;
};

/* The list of path, borrowed from the shelf: the one that it holds already; else the one of
 * previous (may be NULL), if the file has not changed since; else it is loaded, with the results of
 * domains_load. */
MUST_USE int domains_shelf_get(struct domains_shelf *shelf, const struct domains_shelf *previous,
                               const char *path, struct conf_messages *messages,
                               const struct domains **ret);
/* Calls tell for each list whose file was read anew, is new or is no longer there; NULL where there
 * is none. path is borrowed. */
void domains_shelf_diff(const struct domains_shelf *before, const struct domains_shelf *after,
                        void (*tell)(void *arg, const char *path,
                                     const struct domains_counts *before,
                                     const struct domains_counts *after),
                        void *arg);
void domains_shelf_deinit(struct domains_shelf *shelf);
