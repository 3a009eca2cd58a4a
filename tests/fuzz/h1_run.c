// SPDX-License-Identifier: MIT
#include "h1_run.h"

#include <string.h>

const struct h1_limits h1_run_wide = {.head_bytes = 65536, .target_bytes = 16384, .fields = 200};
const struct h1_limits h1_run_tight = {.head_bytes = 96, .target_bytes = 24, .fields = 3};

#define MESSAGES_MAX 64 /* of one connection */

struct run {
    struct h1_run *how;
    struct h1_parser *parser;
    struct arena_pool pool;
    struct arena arena;
    struct request request;
    struct response response;
    struct fuzz_bytes body;
    size_t pos;   /* taken */
    size_t have;  /* handed in so far */
    size_t begin; /* of the message */
    bool head_seen;
};

static void say_fields(struct fuzz_bytes *said, const struct field_list *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        fuzz_bytes_printf(said, "[%d %zu ", (int)fields->items[i].id, fields->items[i].name.len);
        fuzz_bytes_put(said, fields->items[i].name);
        fuzz_bytes_printf(said, "=%zu ", fields->items[i].value.len);
        fuzz_bytes_put(said, fields->items[i].value);
    }
}

static void say_head(struct run *run)
{
    struct fuzz_bytes *said = &run->how->said;
    const struct framing *framing;

    if (run->how->responses) {
        const struct response *r = &run->response;

        framing = &r->framing;
        fuzz_bytes_printf(said, "%u 1.%u keep=%d ", r->status, r->minor_version, r->keep_alive);
        fuzz_bytes_put(said, r->reason);
        say_fields(said, &r->fields);
    } else {
        const struct request *r = &run->request;

        framing = &r->framing;
        fuzz_bytes_put(said, r->method_text);
        fuzz_bytes_put(said, STR(" "));
        fuzz_bytes_put(said, r->target_text);
        fuzz_bytes_printf(said, " 1.%u %d idempotent=%d keep=%d expect=%d upgrade=%d ",
                          r->minor_version, (int)r->method, r->is_idempotent, r->keep_alive,
                          r->expects_continue, r->wants_upgrade);
        say_fields(said, &r->fields);
    }
    fuzz_bytes_printf(said, " framing=%d,%llu\n", (int)framing->kind,
                      (unsigned long long)framing->length);
}

static void tell(struct run *run, bool is_whole)
{
    struct h1_run *how = run->how;
    struct h1_message message = {
        .request = how->responses ? NULL : &run->request,
        .response = how->responses ? &run->response : NULL,
        .trailers = h1_parser_trailers(run->parser),
        .in = str_make(how->in.ptr + run->begin, how->in.len - run->begin),
        .taken = run->pos - run->begin,
        .body = fuzz_bytes_str(&run->body),
        .is_whole = is_whole,
    };

    if (how->on_message) {
        how->on_message(how, &message);
    }
}

/* One call, on a copy of the exact size that is gone at once. */
static enum h1_event call(struct run *run, size_t end)
{
    size_t len = end - run->pos;
    char *copy = malloc(len ? len : 1);
    enum h1_event event;
    struct str body;
    size_t taken = 0;

    CHECK(copy, "out of memory");
    if (len > 0) {
        memcpy(copy, run->how->in.ptr + run->pos, len);
    }
    event = h1_parser_next(run->parser, copy, len, &taken, &body);
    CHECK(taken <= len, "took %zu of %zu", taken, len);
    CHECK((event == H1_BODY) == (body.len > 0), "event %d with %zu bytes", event, body.len);
    if (body.len > 0) {
        CHECK(body.ptr >= copy && body.ptr + body.len <= copy + taken, "a body from elsewhere");
        fuzz_bytes_put(&run->body, body);
    }
    free(copy);
    run->pos += taken;
    return event;
}

static size_t next_cut(struct run *run)
{
    size_t left = run->how->in.len - run->have;

    switch (run->how->cut) {
    case H1_CUT_NOT:
        break;
    case H1_CUT_BYTES:
        return run->have + 1;
    case H1_CUT_RANDOM:
        return run->have + 1 + fuzz_random(&run->how->seed, left < 40 ? left : 40);
    }
    return run->how->in.len;
}

/* One message. H1_END, H1_ERROR, or H1_MORE where the input ends. */
static enum h1_event message(struct run *run)
{
    struct h1_run *how = run->how;

    for (;;) {
        enum h1_event event = call(run, run->have);

        if (event == H1_HEAD) {
            CHECK(!run->head_seen, "two heads");
            run->head_seen = true;
            say_head(run);
        } else if (event == H1_END || event == H1_ERROR) {
            return event;
        } else if (event == H1_MORE) {
            CHECK(run->pos == run->have, "H1_MORE with %zu bytes left", run->have - run->pos);
            CHECK(how->cut != H1_CUT_BYTES || call(run, run->have) == H1_MORE, "an empty call");
            if (run->have == how->in.len) {
                return event;
            }
            run->have = next_cut(run);
        }
    }
}

static void say_end(struct run *run, enum h1_event event)
{
    struct fuzz_bytes *said = &run->how->said;

    fuzz_bytes_printf(said, "%zu bytes: ", run->body.len);
    fuzz_bytes_put(said, fuzz_bytes_str(&run->body));
    if (event == H1_END) {
        say_fields(said, h1_parser_trailers(run->parser));
    }
    fuzz_bytes_printf(said, "\nevent %d at %zu, error %d %s\n", (int)event, run->pos,
                      (int)h1_parser_error(run->parser), h1_parser_error_text(run->parser));
    CHECK((event == H1_ERROR) == (h1_parser_error(run->parser) != H1_E_NONE), "event and error");
}

static void begin(struct run *run)
{
    struct h1_run *how = run->how;

    arena_reset(&run->arena);
    fuzz_bytes_free(&run->body);
    run->begin = run->pos;
    run->head_seen = false;
    if (how->responses) {
        h1_parser_begin_response(run->parser, how->limits, &run->arena, &run->response, how->to);
    } else {
        h1_parser_begin_request(run->parser, how->limits, &run->arena, &run->request);
    }
}

static void at_eof(struct run *run)
{
    enum h1_event event = h1_parser_eof(run->parser);

    fuzz_bytes_printf(&run->how->said, "eof %d error %d\n", (int)event,
                      (int)h1_parser_error(run->parser));
    if (run->head_seen) {
        tell(run, event == H1_END);
    }
}

void h1_run(struct h1_run *how)
{
    struct run run = {.how = how};
    enum h1_event event = H1_END;

    arena_pool_init(&run.pool, NULL, NULL);
    arena_init(&run.arena, &run.pool);
    CHECK((how->responses ? h1_parser_new_response(NULL, &run.parser)
                          : h1_parser_new_request(NULL, &run.parser)) == 0,
          "out of memory");
    for (int i = 0; i < MESSAGES_MAX && event == H1_END; i++) {
        begin(&run);
        event = message(&run);
        say_end(&run, event);
        if (event == H1_END) {
            tell(&run, true);
        } else if (event == H1_MORE) {
            at_eof(&run);
        }
        if (run.pos == how->in.len && event == H1_END) {
            break;
        }
    }
    h1_parser_free(run.parser);
    arena_reset(&run.arena);
    fuzz_bytes_free(&run.body);
}

void h1_run_compare(const struct h1_run *how)
{
    static const enum h1_cut cuts[] = {H1_CUT_BYTES, H1_CUT_RANDOM, H1_CUT_RANDOM};
    struct h1_run whole = *how;
    uint64_t seed = fuzz_hash(how->in.ptr, how->in.len);

    whole.cut = H1_CUT_NOT;
    h1_run(&whole);
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct h1_run other = *how;

        other.cut = cuts[i];
        other.seed = seed + i;
        other.on_message = NULL;
        h1_run(&other);
        CHECK(other.said.len == whole.said.len &&
                  memcmp(other.said.ptr, whole.said.ptr, whole.said.len) == 0,
              "cut (%zu):\n%.*s\nwhole:\n%.*s", i, (int)other.said.len, other.said.ptr,
              (int)whole.said.len, whole.said.ptr);
        fuzz_bytes_free(&other.said);
    }
    fuzz_bytes_free(&whole.said);
}
