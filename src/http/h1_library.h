// SPDX-License-Identifier: MIT
#pragma once

/*
 * One message as the parser library reads it: the adapter to llhttp, which no
 * other file knows. It is handed whole sections (a head, a chunk-size line, the
 * bytes of a chunk, the trailers), so its spans are views of them and never
 * fragments, and what it says comes back in plain values. Its reading of the
 * framing must be that of framing.c: where they differ the message is refused.
 * Private to h1_parse.
 */

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "http/h1_parse.h"

struct h1_library {
    llhttp_t llhttp;
    const struct h1_limits *limits; /* these three borrowed until the message's end */
    struct request *request;        /* NULL when reading responses */
    struct response *response;      /* NULL when reading requests */
    enum method to;                 /* what the response answers */
    struct field_list *fields;      /* where fields go now: those of the head, or trailers */
    struct str name;                /* of the field being read */
    struct str value;
    bool chunk_begins; /* it has read a chunk-size line; whoever sees it takes it back */
    bool head_read;    /* what it has said so far */
    bool message_read;
    enum h1_error error;
    const char *error_text;
};

/* Begins a message; its head is filled in as it is read. */
void h1_library_begin_request(struct h1_library *lib, const struct h1_limits *limits,
                              struct arena *arena, struct request *request);
void h1_library_begin_response(struct h1_library *lib, const struct h1_limits *limits,
                               struct arena *arena, struct response *response, enum method to);
/* Hands it len bytes, all of which it must take. False when it refuses them, or we do what it made
 * of them: error and error_text tell, *ret_taken is the number of bytes before the fault. */
MUST_USE bool h1_library_take(struct h1_library *lib, const char *data, size_t len,
                              size_t *ret_taken);
/* Of the chunk that has begun. */
uint64_t h1_library_chunk_bytes(const struct h1_library *lib);
bool h1_library_knows_method(struct str method);
/* As "9.2.1". */
const char *h1_library_version(void);
