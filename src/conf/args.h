// SPDX-License-Identifier: MIT
#pragma once

/*
 * The command line: one command word, options before or after it. Reads and
 * judges the words only; main.c acts on them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum args_command {
    ARGS_SERVE,
    ARGS_CHECK,
    ARGS_CONFIG,
    ARGS_EXPLAIN,
    ARGS_STATUS,
    ARGS_RULES,
    ARGS_CONNECTIONS,
    ARGS_KILL,
    ARGS_RELOAD,
    ARGS_HELP,
    ARGS_VERSION,
};

/* The words of `explain`, borrowed from argv; NULL: not given. */
struct args_explain {
    const char *target; /* always given */
    const char *client, *user, *method, *listener, *time, *resolve;
};

struct args {
    enum args_command command;
    const char *conf_path;  /* -c, borrowed from argv; NULL: none */
    const char **overrides; /* owned: each -o, borrowed from argv, in order */
    size_t override_count;
    bool show_secrets;
    bool json;
    const char *socket; /* -s, borrowed from argv; NULL: none. Never beside -c or -o */
    const char *id;     /* of kill, always given; borrowed from argv */
    bool would_deny;    /* of connections, as close, which comes with it alone */
    bool close;
    struct args_explain explain;
};

#define ARGS_WRONG 1 /* wrong usage */

/* 0 with *ret to be freed by args_deinit; ARGS_WRONG with one line (no LF) in error; -ENOMEM.
 * --help and --version win over all that stands behind them. */
MUST_USE int args_parse(int argc, char *const *argv, struct args *ret, char *error, size_t cap);
void args_deinit(struct args *args);
