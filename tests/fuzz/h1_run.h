// SPDX-License-Identifier: MIT
#pragma once

/*
 * Runs h1_parse over an input as one connection, message after message, and writes down all that it
 * said; so that two runs over the same bytes, cut differently, can be compared.
 */

#include "base/arena.h"
#include "fuzz.h"
#include "http/h1_parse.h"

enum h1_cut {
    H1_CUT_NOT,    /* the whole at once */
    H1_CUT_BYTES,  /* byte by byte, with empty calls between */
    H1_CUT_RANDOM, /* pieces of random length, of the seed */
};

/* One message as it was read; valid during the call. */
struct h1_message {
    struct request *request;   /* or */
    struct response *response; /* the other */
    const struct field_list *trailers;
    struct str in;   /* from the message's first byte to the end of the input */
    size_t taken;    /* its bytes */
    struct str body; /* so far, when not is_whole */
    bool is_whole;   /* false: its head alone was read */
};

struct h1_run {
    struct str in;
    const struct h1_limits *limits;
    bool responses;
    enum method to; /* of all responses */
    enum h1_cut cut;
    uint64_t seed;
    void (*on_message)(const struct h1_run *run, const struct h1_message *message); /* or NULL */
    struct fuzz_bytes said;
};

/* Appends to run->said. */
void h1_run(struct h1_run *run);
/* Runs over the input in all the ways there are and checks that they say the same. on_message is
 * called in the first. */
void h1_run_compare(const struct h1_run *how);

extern const struct h1_limits h1_run_wide;
extern const struct h1_limits h1_run_tight;
