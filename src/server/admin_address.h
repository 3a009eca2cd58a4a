// SPDX-License-Identifier: MIT
#pragma once

/*
 * Where the admin socket is: the same answer for the daemon that opens it
 * and for the commands that ask it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

struct conf;

/* Where a command looks that is told nothing better. */
#define ADMIN_DEFAULT_DIR "/run/viaduct"
#define ADMIN_SOCKET_NAME "/admin.sock"
#define ADMIN_DEFAULT_PATH ADMIN_DEFAULT_DIR ADMIN_SOCKET_NAME
/* Of an answer's head: what the command that asked is to end with. */
#define ADMIN_EXIT_FIELD "Viaduct-Exit"
#define ADMIN_PATH_MAX 108 /* sun_path of struct sockaddr_un */

struct admin_address {
    bool is_unix;
    struct addr addr;          /* TCP */
    char path[ADMIN_PATH_MAX]; /* unix */
};

/* The first directory that the service manager gives (systemd.exec(5), RUNTIME_DIRECTORY):
 * absolute, borrowed from the environment. False: it gives none. */
MUST_USE bool admin_runtime_dir(struct str *ret);
/* What admin.address means here; false: it is off. */
MUST_USE bool admin_address_of(const struct conf *conf, struct admin_address *ret);
/* unix:PATH, a PATH with a slash in it, IP:PORT or [IP6]:PORT; false for anything else. */
MUST_USE bool admin_address_parse(struct str text, struct admin_address *ret);
void admin_address_put(struct text *out, const struct admin_address *address);
