// SPDX-License-Identifier: MIT
#include "http/h1_library.h"

#include <llhttp.h>

#include "http/framing.h"
#include "http/h1_head.h"

static int fail(struct h1_library *lib, enum h1_error error, const char *text)
{
    lib->error = error;
    lib->error_text = text;
    return -1; /* what a callback of llhttp returns then */
}

/* Whether llhttp reads the same framing out of the fields (it never sees a response's BODY_NONE).
 */
static bool llhttp_agrees(const struct h1_library *lib, const struct framing *framing)
{
    const llhttp_t *llhttp = &lib->llhttp;
    unsigned flags = llhttp->flags & (F_CHUNKED | F_TRANSFER_ENCODING | F_CONTENT_LENGTH);

    switch (framing->kind) {
    case BODY_NONE:
        return lib->response ||
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
    struct h1_library *lib = llhttp->data;

    lib->request->method_text = str_make(at, len);
    /* With a version 1.x on its line this is not the HTTP/2 preface that llhttp would wait for. */
    if (str_eq(lib->request->method_text, STR("PRI"))) {
        return fail(lib, H1_E_METHOD, "The method is not implemented.");
    }
    return 0;
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_library *lib = llhttp->data;

    lib->request->target_text = str_make(at, len);
    return 0;
}

static int on_status(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_library *lib = llhttp->data;

    lib->response->reason = str_make(at, len);
    return 0;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_library *lib = llhttp->data;
    bool ends_blank = len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t');

    lib->name = str_make(at, len);
    lib->value = str_make(at, 0);
    /* A laxer library would let it pass as a part of the name. */
    return ends_blank ? fail(lib, H1_E_MALFORMED, "A blank before a field's colon.") : 0;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct h1_library *lib = llhttp->data;

    lib->value = str_trim(str_make(at, len));
    return 0;
}

static int on_header_value_complete(llhttp_t *llhttp)
{
    struct h1_library *lib = llhttp->data;

    if (lib->fields->count == lib->limits->fields) {
        return fail(lib, H1_E_HEAD_TOO_LARGE, "Too many header fields.");
    }
    if (field_list_add_line(lib->fields, lib->name, lib->value) != 0) {
        return fail(lib, H1_E_NO_MEMORY, "Out of memory.");
    }
    return 0;
}

static const struct framing *framing_of(const struct h1_library *lib)
{
    return lib->request ? &lib->request->framing : &lib->response->framing;
}

static enum h1_error head_complete(struct h1_library *lib, const char **ret_text)
{
    unsigned minor_version = llhttp_get_http_minor(&lib->llhttp);

    if (lib->request) {
        lib->request->minor_version = minor_version;
        return h1_head_request(lib->request, ret_text);
    }
    lib->response->minor_version = minor_version;
    lib->response->status = (unsigned)llhttp_get_status_code(&lib->llhttp);
    return h1_head_response(lib->response, lib->to, ret_text);
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct h1_library *lib = llhttp->data;
    const char *text = NULL;
    enum h1_error error = head_complete(lib, &text);

    lib->head_read = true;
    if (error != H1_E_NONE) {
        return fail(lib, error, text);
    }
    if (!llhttp_agrees(lib, framing_of(lib))) {
        return fail(lib, H1_E_FRAMING, "The length of the body can be read in two ways.");
    }
    /* 1: llhttp is to expect no body, whatever it thinks of the fields. */
    return lib->response && lib->response->framing.kind == BODY_NONE ? 1 : 0;
}

static int on_chunk_header(llhttp_t *llhttp)
{
    struct h1_library *lib = llhttp->data;

    lib->chunk_begins = true;
    return 0;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct h1_library *lib = llhttp->data;

    lib->message_read = true;
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
static bool fail_llhttp(struct h1_library *lib, llhttp_errno_t error)
{
    bool length = lib->llhttp.flags & F_CONTENT_LENGTH;
    bool coding = lib->llhttp.flags & F_TRANSFER_ENCODING;
    int detail = 0;

    if (lib->error != H1_E_NONE) {
        return false; /* it was a callback of ours */
    }
    if (error == HPE_INVALID_METHOD || error == HPE_INVALID_CONSTANT) {
        /* The scan has seen a token and "HTTP/1.x" around it. */
        fail(lib, H1_E_METHOD, "The method is not implemented.");
        return false;
    }
    if (error == HPE_UNEXPECTED_CONTENT_LENGTH || error == HPE_INVALID_CONTENT_LENGTH) {
        detail = coding ? FRAMING_LENGTH_AND_TE : FRAMING_BAD_LENGTH;
    } else if (error == HPE_INVALID_TRANSFER_ENCODING) {
        detail = length ? FRAMING_LENGTH_AND_TE : FRAMING_BAD_TE;
    }
    if (detail != 0) {
        fail(lib, h1_head_framing_error(detail), framing_error_text(detail));
    } else {
        fail(lib, H1_E_MALFORMED, llhttp_get_error_reason(&lib->llhttp));
    }
    return false;
}

bool h1_library_take(struct h1_library *lib, const char *data, size_t len, size_t *ret_taken)
{
    llhttp_errno_t error = llhttp_execute(&lib->llhttp, data, len);

    *ret_taken = len;
    if (error == HPE_OK) {
        return true;
    }
    *ret_taken = (size_t)(llhttp_get_error_pos(&lib->llhttp) - data);
    if (error == HPE_PAUSED && *ret_taken == len) {
        return true; /* the message is complete; nothing more is handed in */
    }
    return fail_llhttp(lib, error);
}

/* A new llhttp for every message: nothing of the last one can reach into it. */
static void begin(struct h1_library *lib, llhttp_type_t type, const struct h1_limits *limits)
{
    *lib = (struct h1_library){.limits = limits};
    llhttp_init(&lib->llhttp, type, &callbacks);
    lib->llhttp.data = lib;
}

void h1_library_begin_request(struct h1_library *lib, const struct h1_limits *limits,
                              struct arena *arena, struct request *request)
{
    begin(lib, HTTP_REQUEST, limits);
    *request = (struct request){0};
    field_list_init(&request->fields, arena);
    lib->request = request;
    lib->fields = &request->fields;
}

void h1_library_begin_response(struct h1_library *lib, const struct h1_limits *limits,
                               struct arena *arena, struct response *response, enum method to)
{
    begin(lib, HTTP_RESPONSE, limits);
    *response = (struct response){0};
    field_list_init(&response->fields, arena);
    lib->response = response;
    lib->fields = &response->fields;
    lib->to = to;
}

uint64_t h1_library_chunk_bytes(const struct h1_library *lib)
{
    return lib->llhttp.content_length;
}

bool h1_library_knows_method(struct str method)
{
#define NAME(number, name, text) STR(#text),
    static const struct str names[] = {HTTP_METHOD_MAP(NAME)};
#undef NAME

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(method, names[i])) {
            return true;
        }
    }
    return false;
}

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *h1_library_version(void)
{
    return VERSION_TEXT(LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}
