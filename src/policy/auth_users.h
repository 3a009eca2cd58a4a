// SPDX-License-Identifier: MIT
#pragma once

/*
 * The users file: lines NAME:HASH as htpasswd(1) writes them, read whole or
 * not at all. Never changed once read, so that all threads share it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/file.h"
#include "base/map.h"
#include "base/str.h"

struct auth_users;
struct conf_messages;
struct conf_origin;

#define AUTH_USERS_MAX_BYTES ((size_t)64 << 20) /* of the file */
#define AUTH_USER_MAX 255                       /* bytes of a name */

#define AUTH_USERS_BAD 1

/* One user; lives as long as the users. */
struct auth_user {
    struct map_node node; /* its key is the name */
    struct str hash;      /* NUL-terminated; never shown to anybody */
    size_t index;         /* below auth_users_count */
    unsigned line;
};

/* Reads the file. Every error goes to messages with its line (beyond the first ten they are
 * counted); one about the file as a whole with origin, the line that names it. 0 and *ret with one
 * reference; AUTH_USERS_BAD; -ENOMEM. */
MUST_USE int auth_users_load(const char *path, struct conf_origin origin,
                             struct conf_messages *messages, struct auth_users **ret);
/* The same from text; path is for messages. */
MUST_USE int auth_users_parse(struct str text, const char *path, struct conf_messages *messages,
                              struct auth_users **ret);
struct auth_users *auth_users_ref(struct auth_users *users);
void auth_users_unref(struct auth_users *users); /* accepts NULL */

/* NULL: no such user. */
const struct auth_user *auth_users_find(const struct auth_users *users, struct str name);
/* A name that does not exist is checked against the hash of one that does, always the same: which
 * one cannot be told from outside. So the time of a check tells nothing about a name, however
 * unlike the costs of the hashes are. NULL: there is no user at all. */
const struct auth_user *auth_users_stand_in(const struct auth_users *users, struct str name);
size_t auth_users_count(const struct auth_users *users);
/* Where they came from. */
const char *auth_users_path(const struct auth_users *users);
const struct file_stamp *auth_users_stamp(const struct auth_users *users);
/* When reading them began (clock_mono_ms): of two readings of one file the later one has the newer
 * users. */
uint64_t auth_users_read_ms(const struct auth_users *users);
