// SPDX-License-Identifier: MIT
#include "http/h1_parse.h"

#include <errno.h>
#include <llhttp.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/framing.h"
#include "http/h1_head.h"
#include "http/h1_scan.h"

/*
 * A head is collected whole before llhttp sees it: h1_scan finds its end and
 * counts the limits, one copy goes to the arena, and llhttp's spans are views
 * into that copy, never fragments. The same holds for a trailer section. A
 * body of known length, or until close, is only counted here. A chunked one
 * goes through llhttp in pieces that end where an event ends: at the end of a
 * chunk-size line, or at the last byte of a chunk.
 *
 * So there are two readings of every message's framing, llhttp's and that of
 * framing.c. Where they differ the message is refused.
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
    llhttp_t llhttp;
    llhttp_type_t type;
    enum state state;
    const struct h1_limits *limits; /* these four borrowed until the message's end */
    struct arena *arena;
    struct request *request;   /* NULL when parsing responses */
    struct response *response; /* NULL when parsing requests */
    enum method to;            /* what the response answers */
    struct h1_scan scan;
    struct block block;
    struct str name; /* of the field being parsed, a view of the block */
    struct str value;
    struct field_list trailers;
    struct field_list *fields; /* where fields go now: those of the head, or trailers */
    uint64_t left;             /* of a body with a length, or of a chunk */
    size_t extension_bytes;    /* of all chunks so far */
    size_t line_bytes;         /* of the chunk-size line, without its extensions */
    unsigned blank_lines;
    bool blank_cr; /* inside an empty line */
    bool in_extension;
    bool chunk_begins; /* llhttp has read a chunk-size line */
    bool head_read;    /* what llhttp has said so far */
    bool message_read;
    enum h1_error error;
    const char *error_text;
};

static int fail(struct h1_parser *parser, enum h1_error error, const char *text)
{
    parser->state = STATE_FAILED;
    parser->error = error;
    parser->error_text = text;
    return -1; /* what a callback of llhttp returns then */
}

static int fail_memory(struct h1_parser *parser)
{
    return fail(parser, H1_E_NO_MEMORY, "Out of memory.");
}

/* Whether llhttp reads the same framing out of the fields (it never sees a response's BODY_NONE).
 */
static bool llhttp_agrees(const struct h1_parser *parser, const struct framing *framing)
{
    const llhttp_t *llhttp = &parser->llhttp;
    unsigned flags = llhttp->flags & (F_CHUNKED | F_TRANSFER_ENCODING | F_CONTENT_LENGTH);

    switch (framing->kind) {
    case BODY_NONE:
        return parser->response ||
               ((flags & ~(unsigned)F_CONTENT_LENGTH) == 0 && llhttp->content_length == 0);
    case BODY_LENGTH:
        return flags == F_CONTENT_LENGTH && llhttp->content_length == framing->length;
    case BODY_CHUNKED:
        return flags == (F_CHUNKED | F_TRANSFER_ENCODING);
    case BODY_UNTIL_CLOSE:
        break;
    }
    return flags == 0;
}

/* ---- llhttp's callbacks: on_*(): views into the collected block ---- */

static int on_method(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_parser *parser = llhttp->data;

    parser->request->method_text = str_make(at, len);
    /* With a version 1.x on its line this is not the HTTP/2 preface that llhttp would wait for. */
    if (str_eq(parser->request->method_text, STR("PRI"))) {
        return fail(parser, H1_E_METHOD, "The method is not implemented.");
    }
    return 0;
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_parser *parser = llhttp->data;

    parser->request->target_text = str_make(at, len);
    return 0;
}

static int on_status(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_parser *parser = llhttp->data;

    parser->response->reason = str_make(at, len);
    return 0;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_parser *parser = llhttp->data;

    parser->name = str_make(at, len);
    parser->value = str_make(at, 0);
    return 0;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_parser *parser = llhttp->data;

    parser->value = str_trim(str_make(at, len));
    return 0;
}

static int on_header_value_complete(llhttp_t *llhttp)
{
    struct h1_parser *parser = llhttp->data;

    if (parser->fields->count == parser->limits->fields) {
        return fail(parser, H1_E_HEAD_TOO_LARGE, "Too many header fields.");
    }
    if (field_list_add(parser->fields, parser->name, parser->value) != 0) {
        return fail_memory(parser);
    }
    return 0;
}

static const struct framing *framing_of(const struct h1_parser *parser)
{
    return parser->request ? &parser->request->framing : &parser->response->framing;
}

static enum h1_error head_complete(struct h1_parser *parser, const char **ret_text)
{
    unsigned minor_version = llhttp_get_http_minor(&parser->llhttp);

    if (parser->request) {
        parser->request->minor_version = minor_version;
        return h1_head_request(parser->request, ret_text);
    }
    parser->response->minor_version = minor_version;
    parser->response->status = (unsigned)llhttp_get_status_code(&parser->llhttp);
    return h1_head_response(parser->response, parser->to, ret_text);
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct h1_parser *parser = llhttp->data;
    const char *text = NULL;
    enum h1_error error = head_complete(parser, &text);

    parser->head_read = true;
    if (error != H1_E_NONE) {
        return fail(parser, error, text);
    }
    if (!llhttp_agrees(parser, framing_of(parser))) {
        return fail(parser, H1_E_FRAMING, "The length of the body can be read in two ways.");
    }
    /* 1: llhttp is to expect no body, whatever it thinks of the fields. */
    return parser->response && parser->response->framing.kind == BODY_NONE ? 1 : 0;
}

static int on_chunk_header(llhttp_t *llhttp)
{
    struct h1_parser *parser = llhttp->data;

    parser->chunk_begins = true;
    return 0;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct h1_parser *parser = llhttp->data;

    parser->message_read = true;
    return HPE_PAUSED; /* it must not begin another message by itself */
}

static const llhttp_settings_t callbacks = {
    .on_method = on_method,
    .on_url = on_url,
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_message_complete = on_message_complete,
};

/* Turns what llhttp refused into one of our errors. */
static bool fail_llhttp(struct h1_parser *parser, llhttp_errno_t error)
{
    bool length = parser->llhttp.flags & F_CONTENT_LENGTH;
    bool coding = parser->llhttp.flags & F_TRANSFER_ENCODING;
    int detail = 0;

    if (parser->state == STATE_FAILED) {
        return false; /* it was a callback of ours */
    }
    if (error == HPE_INVALID_METHOD || error == HPE_INVALID_CONSTANT) {
        /* The scan has seen a token and "HTTP/1.x" around it. */
        fail(parser, H1_E_METHOD, "The method is not implemented.");
        return false;
    }
    if (error == HPE_UNEXPECTED_CONTENT_LENGTH || error == HPE_INVALID_CONTENT_LENGTH) {
        detail = coding ? FRAMING_LENGTH_AND_TE : FRAMING_BAD_LENGTH;
    } else if (error == HPE_INVALID_TRANSFER_ENCODING) {
        detail = length ? FRAMING_LENGTH_AND_TE : FRAMING_BAD_TE;
    }
    if (detail != 0) {
        fail(parser, h1_head_framing_error(detail), framing_error_text(detail));
    } else {
        fail(parser, H1_E_MALFORMED, llhttp_get_error_reason(&parser->llhttp));
    }
    return false;
}

/* Hands len bytes to llhttp, which must take all of them. *ret_taken: those before the fault, else
 * len. */
static bool feed(struct h1_parser *parser, const char *data, size_t len, size_t *ret_taken)
{
    llhttp_errno_t error = llhttp_execute(&parser->llhttp, data, len);

    *ret_taken = len;
    if (error == HPE_OK) {
        return true;
    }
    *ret_taken = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
    if (error == HPE_PAUSED && *ret_taken == len) {
        return true; /* the message is complete; nothing more is handed in */
    }
    return fail_llhttp(parser, error);
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
        fail_memory(parser);
        return false;
    }
    if (block->len > 0) {
        memcpy(ptr, block->ptr, block->len);
    }
    block->ptr = ptr;
    return true;
}

/* Collects a section and, once it is complete, hands it to llhttp. H1_MORE, H1_ERROR, or H1_HEAD
 * when done. */
static enum h1_event next_section(struct h1_parser *parser, const char *data, size_t len,
                                  size_t *ret_taken)
{
    struct block *block = &parser->block;
    enum h1_scan_result result;
    size_t ignored;

    if (len == 0) {
        return H1_MORE;
    }
    result = h1_scan_next(&parser->scan, data, len, ret_taken);
    if (result == H1_SCAN_FAILED) {
        fail(parser, parser->scan.error, parser->scan.text);
        return H1_ERROR;
    }
    if (!block_reserve(parser, *ret_taken, result == H1_SCAN_DONE)) {
        return H1_ERROR;
    }
    memcpy(block->ptr + block->len, data, *ret_taken);
    block->len += *ret_taken;
    if (result == H1_SCAN_MORE) {
        return H1_MORE;
    }
    if (parser->response) {
        block->len = h1_scan_strip_blanks(block->ptr, block->len, parser->state == STATE_HEAD);
    }
    return feed(parser, block->ptr, block->len, &ignored) ? H1_HEAD : H1_ERROR;
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
    const struct framing *framing;

    if (event != H1_HEAD) {
        return event;
    }
    framing = framing_of(parser);
    parser->state = body_state(framing);
    parser->left = framing->length;
    if (!parser->head_read || parser->message_read != (parser->state == STATE_COMPLETE)) {
        fail(parser, H1_E_FRAMING, "The end of the message can be read in two ways.");
        return H1_ERROR;
    }
    return H1_HEAD;
}

static void begin_trailers(struct h1_parser *parser)
{
    parser->state = STATE_TRAILERS;
    parser->fields = &parser->trailers;
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
    if (!parser->message_read) {
        fail(parser, H1_E_MALFORMED, "The trailer section does not end the message.");
        return H1_ERROR;
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
            fail(parser, H1_E_MALFORMED, "Something other than a request line.");
            return H1_ERROR;
        }
        parser->blank_lines += parser->blank_cr;
        parser->blank_cr = !parser->blank_cr;
    }
    return H1_MORE;
}

/* ---- Bodies ---- */

static enum h1_event next_counted(struct h1_parser *parser, const char *data, size_t len,
                                  size_t *ret_taken, struct str *ret_body)
{
    bool until_close = parser->state == STATE_UNTIL_CLOSE;
    size_t take = until_close || len < parser->left ? len : (size_t)parser->left;

    if (take == 0) {
        return H1_MORE;
    }
    *ret_taken = take;
    *ret_body = str_make(data, take);
    if (!until_close) {
        parser->left -= take;
        parser->state = parser->left > 0 ? STATE_LENGTH : STATE_COMPLETE;
    }
    return H1_BODY;
}

/* Bytes up to the next LF. llhttp knows the grammar of a chunk-size line; this bounds its length
 * and that of all extensions together. False: the byte behind *ret_scanned is one too many. */
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

        if (scanned > 0 && !feed(parser, data, scanned, &taken)) {
            *ret_taken += taken;
            return H1_ERROR;
        }
        *ret_taken += scanned;
        if (!within) {
            fail(parser, parser->in_extension ? H1_E_HEAD_TOO_LARGE : H1_E_MALFORMED,
                 "A chunk-size line is too long.");
            return H1_ERROR;
        }
        if (parser->chunk_begins) {
            return H1_HEAD;
        }
        data += scanned;
        len -= scanned;
    }
    return H1_MORE;
}

static void begin_chunk(struct h1_parser *parser)
{
    parser->chunk_begins = false;
    parser->in_extension = false;
    parser->line_bytes = 0;
    parser->left = parser->llhttp.content_length;
    if (parser->left > 0) {
        parser->state = STATE_CHUNK_DATA;
    } else {
        begin_trailers(parser);
    }
}

static enum h1_event next_chunk_data(struct h1_parser *parser, const char *data, size_t len,
                                     size_t *ret_taken, struct str *ret_body)
{
    size_t take = len < parser->left ? len : (size_t)parser->left;

    if (take == 0) {
        return H1_MORE;
    }
    if (!feed(parser, data, take, ret_taken)) {
        return H1_ERROR;
    }
    parser->left -= take;
    if (parser->left == 0) {
        parser->state = STATE_CHUNK_LINE;
    }
    *ret_body = str_make(data, take);
    return H1_BODY;
}

/* ---- The interface ---- */

static int parser_new(struct h1_parser **ret, llhttp_type_t type)
{
    struct h1_parser *parser = mem_zalloc(sizeof(*parser));

    if (!parser) {
        return -ENOMEM;
    }
    parser->type = type;
    *ret = parser;
    return 0;
}

int h1_parser_new_request(struct h1_parser **ret)
{
    return parser_new(ret, HTTP_REQUEST);
}

int h1_parser_new_response(struct h1_parser **ret)
{
    return parser_new(ret, HTTP_RESPONSE);
}

void h1_parser_free(struct h1_parser *parser)
{
    mem_free(parser);
}

/* A new llhttp for every message: nothing of the last one can reach into it. */
static void begin(struct h1_parser *parser, const struct h1_limits *limits, struct arena *arena)
{
    llhttp_type_t type = parser->type;

    *parser = (struct h1_parser){.type = type, .limits = limits, .arena = arena};
    llhttp_init(&parser->llhttp, type, &callbacks);
    parser->llhttp.data = parser;
    field_list_init(&parser->trailers, arena);
}

void h1_parser_begin_request(struct h1_parser *parser, const struct h1_limits *limits,
                             struct arena *arena, struct request *request)
{
    ASSERT(parser->type == HTTP_REQUEST);
    begin(parser, limits, arena);
    *request = (struct request){0};
    field_list_init(&request->fields, arena);
    parser->request = request;
    parser->fields = &request->fields;
    parser->state = STATE_BLANK_LINES;
    h1_scan_request(&parser->scan, limits);
}

void h1_parser_begin_response(struct h1_parser *parser, const struct h1_limits *limits,
                              struct arena *arena, struct response *response, enum method to)
{
    ASSERT(parser->type == HTTP_RESPONSE);
    begin(parser, limits, arena);
    *response = (struct response){0};
    field_list_init(&response->fields, arena);
    parser->response = response;
    parser->fields = &response->fields;
    parser->to = to;
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
    fail(parser, H1_E_TRUNCATED, "The connection ended inside a message.");
    return H1_ERROR;
}

bool h1_parser_started(const struct h1_parser *parser)
{
    return parser->head_read || parser->scan.bytes > 0;
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

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *h1_parser_library_version(void)
{
    return VERSION_TEXT(LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}
