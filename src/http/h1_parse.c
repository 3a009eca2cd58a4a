// SPDX-License-Identifier: MIT
#include "http/h1_parse.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/slab.h"
#include "http/framing.h"
#include "http/h1_library.h"
#include "http/h1_scan.h"

/*
 * A head is collected whole before the library sees it: h1_scan finds its end
 * and counts the limits, one copy goes to the arena, and the fields are views
 * into that copy. The same holds for a trailer section. A body of known length,
 * or until close, is only counted here. A chunked one goes through the library
 * in pieces that end where an event ends: at the end of a chunk-size line, or at
 * the last byte of a chunk.
 */

#define MAX_BLANK_LINES 4 /* before a request line (RFC 9112 2.2) */
#define MIN_BLOCK_BYTES 1024
/* CR of the chunk before, the size, CR; LFs are not counted. More digits than 64 bits take could
 * only be zeros. */
#define MAX_CHUNK_LINE_BYTES (1 + 16 + 1)

enum state {
    STATE_UNUSED, /* no message begun yet */
    STATE_BLANK_LINES,
    STATE_HEAD,
    STATE_LENGTH,
    STATE_UNTIL_CLOSE,
    STATE_CHUNK_LINE,
    STATE_CHUNK_DATA,
    STATE_TRAILERS,
    STATE_COMPLETE, /* H1_END is still to be told */
    STATE_ENDED,
    STATE_FAILED,
};

/* A section being collected, in the arena. */
struct block {
    char *ptr;
    size_t len;
    size_t cap;
};

struct h1_parser {
    struct h1_library library;
    struct slabs *slabs; /* where it comes from */
    bool of_requests;
    enum state state;
    const struct h1_limits *limits; /* both borrowed until the message's end */
    struct arena *arena;
    struct h1_scan scan;
    struct block block;
    struct field_list trailers;
    uint64_t left;          /* of a body with a length, or of a chunk */
    size_t extension_bytes; /* of all chunks so far */
    size_t line_bytes;      /* of the chunk-size line, without its extensions */
    unsigned blank_lines;
    bool blank_cr; /* inside an empty line */
    bool in_extension;
    enum h1_error error;
    const char *error_text;
};

static enum h1_event fail(struct h1_parser *parser, enum h1_error error, const char *text)
{
    parser->state = STATE_FAILED;
    parser->error = error;
    parser->error_text = text;
    return H1_ERROR;
}

/* Hands bytes to the library; false when that ended in an error. */
static bool take(struct h1_parser *parser, const char *data, size_t len, size_t *ret_taken)
{
    if (h1_library_take(&parser->library, data, len, ret_taken)) {
        return true;
    }
    (void)fail(parser, parser->library.error, parser->library.error_text);
    return false;
}

/* ---- Heads and trailer sections ---- */

/* Room for len more bytes. A section that comes whole is not given more than it needs. */
static bool block_reserve(struct h1_parser *parser, size_t len, bool whole)
{
    struct block *block = &parser->block;
    size_t need = block->len + len; /* bounded by limits.head_bytes */
    char *ptr;

    if (need <= block->cap) {
        return true;
    }
    block->cap = whole ? need : MAX(MIN_BLOCK_BYTES, 2 * need);
    ptr = arena_alloc_bytes(parser->arena, block->cap);
    if (!ptr) {
        (void)fail(parser, H1_E_NO_MEMORY, "Out of memory.");
        return false;
    }
    if (block->len > 0) {
        memcpy(ptr, block->ptr, block->len);
        secret_wipe(block->ptr, block->len); /* there may be credentials in it */
    }
    block->ptr = ptr;
    return true;
}

/* Takes the blanks between field names and their colon out of the section; false when there are
 * none. */
static bool strip_blanks(struct h1_parser *parser, bool is_head)
{
    struct block *block = &parser->block;
    size_t before = block->len;

    block->len = h1_scan_strip_blanks(block->ptr, block->len, is_head);
    return block->len < before;
}

/* The whole section, to the library. Of a response the blanks that no field name may end in are
 * stripped (RFC 9112 5.1): heads that have some are rare, so such a head is read again once the
 * library has refused it. At the trailers there is no second time. */
static bool read_section(struct h1_parser *parser)
{
    struct h1_library *library = &parser->library;
    struct block *block = &parser->block;
    bool is_head = parser->state == STATE_HEAD;
    size_t ignored;

    if (!parser->of_requests && !is_head) {
        (void)strip_blanks(parser, false);
    }
    if (h1_library_take(library, block->ptr, block->len, &ignored)) {
        return true;
    }
    if (!parser->of_requests && is_head && strip_blanks(parser, true)) {
        h1_library_begin_response(library, parser->limits, parser->arena, library->response,
                                  library->to);
        if (h1_library_take(library, block->ptr, block->len, &ignored)) {
            return true;
        }
    }
    (void)fail(parser, library->error, library->error_text);
    return false;
}

/* Collects a section and, once it is complete, hands it to the library. H1_MORE, H1_ERROR, or
 * H1_HEAD when done. */
static enum h1_event next_section(struct h1_parser *parser, const char *data, size_t len,
                                  size_t *ret_taken)
{
    struct block *block = &parser->block;
    enum h1_scan_result result;

    if (len == 0) {
        return H1_MORE;
    }
    result = h1_scan_next(&parser->scan, data, len, ret_taken);
    if (result == H1_SCAN_FAILED) {
        return fail(parser, parser->scan.error, parser->scan.text);
    }
    if (!block_reserve(parser, *ret_taken, result == H1_SCAN_DONE)) {
        return H1_ERROR;
    }
    memcpy(block->ptr + block->len, data, *ret_taken);
    block->len += *ret_taken;
    if (result == H1_SCAN_MORE) {
        return H1_MORE;
    }
    return read_section(parser) ? H1_HEAD : H1_ERROR;
}

static enum state body_state(const struct framing *framing)
{
    switch (framing->kind) {
    case BODY_NONE:
        break;
    case BODY_LENGTH:
        return framing->length > 0 ? STATE_LENGTH : STATE_COMPLETE;
    case BODY_CHUNKED:
        return STATE_CHUNK_LINE;
    case BODY_UNTIL_CLOSE:
        return STATE_UNTIL_CLOSE;
    }
    return STATE_COMPLETE;
}

static enum h1_event next_head(struct h1_parser *parser, const char *data, size_t len,
                               size_t *ret_taken)
{
    enum h1_event event = next_section(parser, data, len, ret_taken);
    const struct h1_library *library = &parser->library;
    const struct framing *framing;

    if (event != H1_HEAD) {
        return event;
    }
    framing = library->request ? &library->request->framing : &library->response->framing;
    parser->state = body_state(framing);
    parser->left = framing->length;
    if (!library->head_read || library->message_read != (parser->state == STATE_COMPLETE)) {
        return fail(parser, H1_E_FRAMING, "The end of the message can be read in two ways.");
    }
    return H1_HEAD;
}

static void begin_trailers(struct h1_parser *parser)
{
    parser->state = STATE_TRAILERS;
    parser->library.fields = &parser->trailers;
    parser->block = (struct block){0};
    h1_scan_trailers(&parser->scan, parser->limits);
}

static enum h1_event next_trailers(struct h1_parser *parser, const char *data, size_t len,
                                   size_t *ret_taken)
{
    enum h1_event event = next_section(parser, data, len, ret_taken);

    if (event != H1_HEAD) {
        return event;
    }
    if (!parser->library.message_read) {
        return fail(parser, H1_E_MALFORMED, "The trailer section does not end the message.");
    }
    parser->state = STATE_ENDED;
    return H1_END;
}

/* Empty lines before a request line. H1_HEAD: a byte of the line itself is next. */
static enum h1_event skip_blank_lines(struct h1_parser *parser, const char *data, size_t len,
                                      size_t *ret_taken)
{
    for (; *ret_taken < len; ++*ret_taken) {
        char c = data[*ret_taken];

        if (!parser->blank_cr && c != '\r' && c != '\n') {
            parser->state = STATE_HEAD;
            return H1_HEAD;
        }
        if (c != (parser->blank_cr ? '\n' : '\r') || parser->blank_lines == MAX_BLANK_LINES) {
            return fail(parser, H1_E_MALFORMED, "Something other than a request line.");
        }
        parser->blank_lines += parser->blank_cr;
        parser->blank_cr = !parser->blank_cr;
    }
    return H1_MORE;
}

/* ---- Bodies ---- */

static void count_body(struct h1_parser *parser, uint64_t len)
{
    if (parser->state == STATE_LENGTH) {
        parser->left -= len;
        parser->state = parser->left > 0 ? STATE_LENGTH : STATE_COMPLETE;
    }
}

static enum h1_event next_counted(struct h1_parser *parser, const char *data, size_t len,
                                  size_t *ret_taken, struct str *ret_body)
{
    bool until_close = parser->state == STATE_UNTIL_CLOSE;
    size_t part = until_close || len < parser->left ? len : (size_t)parser->left;

    if (part == 0) {
        return H1_MORE;
    }
    *ret_taken = part;
    *ret_body = str_make(data, part);
    count_body(parser, part);
    return H1_BODY;
}

/* Bytes up to the next LF. The library knows the grammar of a chunk-size line; this bounds its
 * length and that of all extensions together. False: the byte behind *ret_scanned is one too many.
 */
static bool scan_chunk_line(struct h1_parser *parser, const char *data, size_t len,
                            size_t *ret_scanned)
{
    for (size_t i = 0; i < len; i++) {
        char c = data[i];

        *ret_scanned = i;
        if (c == '\n') {
            *ret_scanned = i + 1;
            return true;
        }
        parser->in_extension |= c == ';';
        if (parser->in_extension && c != '\r') {
            if (parser->extension_bytes == parser->limits->head_bytes) {
                return false;
            }
            parser->extension_bytes++;
        } else if (parser->line_bytes++ == MAX_CHUNK_LINE_BYTES) {
            return false;
        }
    }
    *ret_scanned = len;
    return true;
}

/* The CRLF behind the chunk before, and a chunk-size line. H1_HEAD when a chunk begins. */
static enum h1_event next_chunk_line(struct h1_parser *parser, const char *data, size_t len,
                                     size_t *ret_taken)
{
    while (len > 0) {
        size_t scanned = 0;
        size_t taken;
        bool within = scan_chunk_line(parser, data, len, &scanned);

        if (scanned > 0 && !take(parser, data, scanned, &taken)) {
            *ret_taken += taken;
            return H1_ERROR;
        }
        *ret_taken += scanned;
        if (!within) {
            return fail(parser, parser->in_extension ? H1_E_HEAD_TOO_LARGE : H1_E_MALFORMED,
                        "A chunk-size line is too long.");
        }
        if (parser->library.chunk_begins) {
            return H1_HEAD;
        }
        data += scanned;
        len -= scanned;
    }
    return H1_MORE;
}

static void begin_chunk(struct h1_parser *parser)
{
    parser->library.chunk_begins = false;
    parser->in_extension = false;
    parser->line_bytes = 0;
    parser->left = h1_library_chunk_bytes(&parser->library);
    if (parser->left > 0) {
        parser->state = STATE_CHUNK_DATA;
    } else {
        begin_trailers(parser);
    }
}

static enum h1_event next_chunk_data(struct h1_parser *parser, const char *data, size_t len,
                                     size_t *ret_taken, struct str *ret_body)
{
    size_t part = len < parser->left ? len : (size_t)parser->left;

    if (part == 0) {
        return H1_MORE;
    }
    if (!take(parser, data, part, ret_taken)) {
        return H1_ERROR;
    }
    parser->left -= part;
    if (parser->left == 0) {
        parser->state = STATE_CHUNK_LINE;
    }
    *ret_body = str_make(data, part);
    return H1_BODY;
}

/* ---- The interface ---- */

static int parser_new(struct slabs *slabs, bool of_requests, struct h1_parser **ret)
{
    struct h1_parser *parser = slab_zalloc(slabs, sizeof(*parser));

    if (!parser) {
        return -ENOMEM;
    }
    parser->slabs = slabs;
    parser->of_requests = of_requests;
    *ret = parser;
    return 0;
}

int h1_parser_new_request(struct slabs *slabs, struct h1_parser **ret)
{
    return parser_new(slabs, true, ret);
}

int h1_parser_new_response(struct slabs *slabs, struct h1_parser **ret)
{
    return parser_new(slabs, false, ret);
}

void h1_parser_free(struct h1_parser *parser)
{
    if (parser) {
        slab_free(parser->slabs, parser);
    }
}

static void begin(struct h1_parser *parser, const struct h1_limits *limits, struct arena *arena)
{
    *parser = (struct h1_parser){
        .slabs = parser->slabs,
        .of_requests = parser->of_requests,
        .limits = limits,
        .arena = arena,
    };
    field_list_init(&parser->trailers, arena);
}

void h1_parser_begin_request(struct h1_parser *parser, const struct h1_limits *limits,
                             struct arena *arena, struct request *request)
{
    ASSERT(parser->of_requests);
    begin(parser, limits, arena);
    h1_library_begin_request(&parser->library, limits, arena, request);
    parser->state = STATE_BLANK_LINES;
    h1_scan_request(&parser->scan, limits);
}

void h1_parser_begin_response(struct h1_parser *parser, const struct h1_limits *limits,
                              struct arena *arena, struct response *response, enum method to)
{
    ASSERT(!parser->of_requests);
    begin(parser, limits, arena);
    h1_library_begin_response(&parser->library, limits, arena, response, to);
    parser->state = STATE_HEAD;
    h1_scan_response(&parser->scan, limits);
}

/* One step: an event, or H1_MORE when the state or the input has moved on and there may be another.
 */
static enum h1_event step(struct h1_parser *parser, const char *data, size_t len, size_t *ret_taken,
                          struct str *ret_body)
{
    enum h1_event event;

    switch (parser->state) {
    case STATE_BLANK_LINES:
        event = skip_blank_lines(parser, data, len, ret_taken);
        return event == H1_HEAD ? H1_MORE : event;
    case STATE_HEAD:
        return next_head(parser, data, len, ret_taken);
    case STATE_LENGTH:
    case STATE_UNTIL_CLOSE:
        return next_counted(parser, data, len, ret_taken, ret_body);
    case STATE_CHUNK_LINE:
        event = next_chunk_line(parser, data, len, ret_taken);
        if (event == H1_HEAD) {
            begin_chunk(parser);
            return H1_MORE;
        }
        return event;
    case STATE_CHUNK_DATA:
        return next_chunk_data(parser, data, len, ret_taken, ret_body);
    case STATE_TRAILERS:
        return next_trailers(parser, data, len, ret_taken);
    case STATE_COMPLETE:
        parser->state = STATE_ENDED;
        return H1_END;
    case STATE_ENDED:
        return H1_END;
    case STATE_FAILED:
    case STATE_UNUSED:
        break;
    }
    return H1_ERROR;
}

enum h1_event h1_parser_next(struct h1_parser *parser, const char *data, size_t len,
                             size_t *ret_taken, struct str *ret_body)
{
    enum h1_event event;
    size_t total = 0;

    ASSERT(parser->state != STATE_UNUSED);
    *ret_body = str_make(NULL, 0);
    do {
        size_t taken = 0;

        event = step(parser, len > 0 ? data + total : "", len - total, &taken, ret_body);
        total += taken;
    } while (event == H1_MORE && total < len);
    *ret_taken = total;
    return event;
}

enum h1_event h1_parser_eof(struct h1_parser *parser)
{
    switch (parser->state) {
    case STATE_UNUSED:
    case STATE_BLANK_LINES:
    case STATE_ENDED:
        return H1_MORE;
    case STATE_UNTIL_CLOSE:
    case STATE_COMPLETE:
        parser->state = STATE_ENDED;
        return H1_END;
    case STATE_FAILED:
        return H1_ERROR;
    case STATE_HEAD:
        if (!h1_parser_started(parser)) {
            return H1_MORE;
        }
        break;
    case STATE_LENGTH:
    case STATE_CHUNK_LINE:
    case STATE_CHUNK_DATA:
    case STATE_TRAILERS:
        break;
    }
    return fail(parser, H1_E_TRUNCATED, "The connection ended inside a message.");
}

uint64_t h1_parser_plain_left(const struct h1_parser *parser)
{
    if (parser->state == STATE_UNTIL_CLOSE) {
        return UINT64_MAX;
    }
    return parser->state == STATE_LENGTH ? parser->left : 0;
}

void h1_parser_skip_body(struct h1_parser *parser, uint64_t len)
{
    ASSERT(len > 0 && len <= h1_parser_plain_left(parser));
    count_body(parser, len);
}

bool h1_parser_started(const struct h1_parser *parser)
{
    return parser->library.head_read || parser->scan.bytes > 0;
}

struct field_list *h1_parser_trailers(struct h1_parser *parser)
{
    return &parser->trailers;
}

enum h1_error h1_parser_error(const struct h1_parser *parser)
{
    return parser->error;
}

const char *h1_parser_error_text(const struct h1_parser *parser)
{
    return parser->error_text ? parser->error_text : "";
}

bool h1_parser_knows_method(struct str method)
{
    return h1_library_knows_method(method);
}

const char *h1_parser_library_version(void)
{
    return h1_library_version();
}
