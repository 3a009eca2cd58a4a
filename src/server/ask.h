// SPDX-License-Identifier: MIT
#pragma once

/*
 * A question to the admin socket of a running daemon, for commands: one
 * HTTP/1.1 request, and its answer read to the end. Blocks.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/str.h"

struct admin_address;

struct ask_question {
    const struct admin_address *address;
    const char *method;
    struct str target; /* path and query */
    bool json;         /* else for people */
    unsigned wait_s;   /* how long nothing may come, once the question was taken */
    /* Nothing has come for so long: 0 to wait on, or what ask is to return. NULL: -ETIMEDOUT. */
    int (*silent)(void *arg);
    void *arg;
};

struct ask_answer {
    unsigned status;
    int exit_code; /* that the daemon asks for; -1: none */
    char *memory;  /* owned: the whole answer */
    struct str body;
};

/* 0 with *ret to be freed by ask_deinit; negative errno when nobody answers there, -ETIMEDOUT when
 * not in time; -EPROTO: what came is no whole answer. */
MUST_USE int ask(const struct ask_question *question, struct ask_answer *ret);
void ask_deinit(struct ask_answer *answer);
