// SPDX-License-Identifier: MIT
#pragma once

/*
 * Where the admin socket of the running daemon is: a file in the directory
 * that the service manager gives, for the commands that ask the daemon. The
 * configuration they read may have been changed since the daemon read it, and
 * its reload is what they are asked for. One line: unix:PATH, IP:PORT, or off.
 * It holds as long as the daemon has it locked: what one leaves behind that was
 * killed says nothing.
 */

#include <stdbool.h>

#include "base/attr.h"
#include "base/str.h"

struct admin_address;
struct socket_set;

#define ADMIN_RECORD_PATH_MAX 256

/* For the daemon. */
struct admin_record {
    int fd; /* owned; -1: there is no such directory, or no file in it */
    char path[ADMIN_RECORD_PATH_MAX];
};

/* Makes the file, or logs why there is none; before privileges are dropped, which may take away the
 * directory. record->fd must be -1. */
void admin_record_open(struct admin_record *record);
/* NULL: off. */
void admin_record_write(const struct admin_record *record, const struct socket_set *set);
/* Removes it, unless another daemon's has taken its place. */
void admin_record_close(struct admin_record *record);

enum admin_recorded {
    ADMIN_RECORD_NONE, /* no file, or no daemon that says anything there */
    ADMIN_RECORD_OFF,
    ADMIN_RECORD_AT,
};

/* For a command: what is said in dir. ret_path: the file, for messages. */
MUST_USE enum admin_recorded admin_record_read(struct str dir, struct admin_address *ret,
                                               char ret_path[ADMIN_RECORD_PATH_MAX]);
