// SPDX-License-Identifier: MIT
#pragma once

/*
 * A listing of connections as text: JSON for programs, an aligned table for
 * people. Either is written portion by portion.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct connections_row;

#define CONNECTIONS_COLUMNS 14

/* Zeroed but for what is chosen; kept from portion to portion. */
struct connections_form {
    bool as_text;
    bool would_deny; /* show the rule that would refuse each */
    bool
        is_blind; /* leave out what clients ask for: targets, and the addresses that they lead to */
    size_t count; /* so far */
    unsigned widths[CONNECTIONS_COLUMNS]; /* of the table, so far: they only grow */
};

/* What cannot be written shows in ferror(3). */
void connections_show_begin(struct connections_form *form, FILE *out);
void connections_show_rows(struct connections_form *form, const struct connections_row *rows,
                           size_t count, FILE *out);
void connections_show_end(struct connections_form *form, FILE *out);
