// SPDX-License-Identifier: MIT
#include "http/framing.h"

#include "base/str.h"
#include "http/field.h"

/* A body length that no signed 64-bit count of bytes can hold is an overflow to somebody
 * downstream. */
#define MAX_LENGTH ((uint64_t)INT64_MAX)

/* The whole list of codings that all Transfer-Encoding fields make together must be "chunked"
 * (RFC 9112 6.1). Empty elements count as codings here: readers differ about them. */
static int read_codings(const struct field_list *fields)
{
    const struct field *field = field_find(fields, FIELD_TRANSFER_ENCODING);
    bool chunked = false;
    bool unknown = false;

    for (; field; field = field_next(fields, field)) {
        struct str rest = field->value;

        do {
            struct str coding = str_trim(str_cut(&rest, ','));
            struct str name = str_trim(str_head(coding, str_find(coding, ';')));

            if (name.len == 0 || chunked) {
                return FRAMING_BAD_TE;
            }
            if (!str_ieq(name, STR("chunked"))) {
                unknown = true;
            } else if (name.len != coding.len) {
                return FRAMING_BAD_TE;
            } else {
                chunked = true;
            }
        } while (rest.ptr);
    }
    return unknown ? FRAMING_UNKNOWN_CODING : 0;
}

/* What the fields say, for a message that may have a body. *ret untouched when they say nothing. */
static int read_fields(const struct field_list *fields, unsigned minor_version, struct framing *ret)
{
    size_t lengths = field_count(fields, FIELD_CONTENT_LENGTH);
    struct str value = str_trim(field_value(fields, FIELD_CONTENT_LENGTH));
    uint64_t length = 0;

    if (field_find(fields, FIELD_TRANSFER_ENCODING)) {
        int error = read_codings(fields);

        if (lengths > 0) {
            return FRAMING_LENGTH_AND_TE;
        }
        if (minor_version == 0) {
            return FRAMING_TE_IN_1_0;
        }
        if (!error) {
            *ret = (struct framing){.kind = BODY_CHUNKED};
        }
        return error;
    }
    if (lengths == 0) {
        return 0;
    }
    /* Equal values may be collapsed to one (RFC 9112 6.3 rule 5); the library refuses, so do we. */
    if (lengths > 1 || !str_parse_u64(value, MAX_LENGTH, &length)) {
        return FRAMING_BAD_LENGTH;
    }
    *ret = (struct framing){.kind = BODY_LENGTH, .length = length};
    return 0;
}

int framing_of_request(const struct request *request, struct framing *ret)
{
    struct framing framing = {.kind = BODY_NONE}; /* RFC 9112 6.3 rule 7 */
    int error = read_fields(&request->fields, request->minor_version, &framing);

    if (error) {
        return error;
    }
    if (request->method == METHOD_CONNECT || request->method == METHOD_TRACE) {
        if (framing.kind == BODY_CHUNKED || framing.length > 0) {
            return FRAMING_BODY_NOT_ALLOWED;
        }
        framing.kind = BODY_NONE;
    }
    *ret = framing;
    return 0;
}

int framing_of_response(const struct response *response, bool to_head, bool to_connect,
                        struct framing *ret)
{
    unsigned status = response->status;
    struct framing framing = {.kind = BODY_UNTIL_CLOSE}; /* RFC 9112 6.3 rule 8 */
    int error;

    if (to_head || status < 200 || status == 204 || status == 304 || (to_connect && status < 300)) {
        *ret = (struct framing){.kind = BODY_NONE};
        return 0;
    }
    error = read_fields(&response->fields, response->minor_version, &framing);
    if (!error) {
        *ret = framing;
    }
    return error;
}

const char *framing_error_text(int error)
{
    switch ((enum framing_error)error) {
    case FRAMING_BAD_LENGTH:
        return "Content-Length is not one number of bytes.";
    case FRAMING_LENGTH_AND_TE:
        return "Content-Length and Transfer-Encoding stand together.";
    case FRAMING_BAD_TE:
        return "Transfer-Encoding is not a list that ends in one chunked.";
    case FRAMING_UNKNOWN_CODING:
        return "A transfer coding other than chunked.";
    case FRAMING_TE_IN_1_0:
        return "Transfer-Encoding in an HTTP/1.0 message.";
    case FRAMING_BODY_NOT_ALLOWED:
        return "Content on a method that takes none.";
    }
    return "The length of the body cannot be told.";
}
