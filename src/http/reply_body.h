// SPDX-License-Identifier: MIT
#pragma once

/*
 * The page behind an answer of our own: one content in three forms, of which
 * the client's Accept picks one. Everything shown is printable ASCII when it
 * comes here; the escapes of each form are done here.
 */

#include "base/arena.h"
#include "base/attr.h"
#include "base/str.h"

struct field_list;

enum reply_form { REPLY_PLAIN, REPLY_HTML, REPLY_JSON };

/* Empty views are left out. */
struct reply_page {
    unsigned status;
    struct str phrase;
    struct str sentence;
    struct str example; /* a command line to try */
    struct str error;   /* RFC 9209 error type */
    struct str rule;
    struct str details;
    struct str target;
    struct str server;
};
#define REPLY_PAGE_TEXT_MAX 512 /* bytes that any of these may have */

/* RFC 9110 12.5.1; the first of plain, html, json when several are liked best, or none is. fields
 * may be NULL. */
enum reply_form reply_choose_form(const struct field_list *fields);
const char *reply_form_type(enum reply_form form); /* for Content-Type */
/* ptr NULL: memory out. */
MUST_USE struct str reply_write_page(struct arena *arena, enum reply_form form,
                                     const struct reply_page *page);
