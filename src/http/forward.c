// SPDX-License-Identifier: MIT
#include "http/forward.h"

#include <errno.h>

#include "base/err.h"
#include "http/h1_write.h"

/* Fields that no trailer may hold (RFC 9110 6.5.1), beyond the known ones, of which IN_TRAILERS
 * may. */
static const char *const header_only[] = {
    "Age",
    "Cache-Control",
    "Content-Encoding",
    "Content-Range",
    "Cookie",
    "Expires",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Location",
    "Pragma",
    "Proxy-Authentication-Info",
    "Range",
    "Retry-After",
    "Set-Cookie",
    "Vary",
    "Warning",
};

/* A set of known fields, as field_list.ids is one. */
#define SET(id) (1U << (id))

/* What frames the content and what a request is for: Connection cannot take these away, they are
 * written anew or kept by rules of their own. */
#define PROTECTED (SET(FIELD_HOST) | SET(FIELD_CONTENT_LENGTH) | SET(FIELD_TRANSFER_ENCODING))
/* HTTP2-Settings is of an upgrade to h2c, which is never passed on. */
#define HOP_BY_HOP                                                                                 \
    (SET(FIELD_CONNECTION) | SET(FIELD_HTTP2_SETTINGS) | SET(FIELD_KEEP_ALIVE) |                   \
     SET(FIELD_PROXY_CONNECTION) | SET(FIELD_TE) | SET(FIELD_TRANSFER_ENCODING) |                  \
     SET(FIELD_UPGRADE))
/* Known fields that may stand in a trailer. */
#define IN_TRAILERS (SET(FIELD_OTHER) | SET(FIELD_PROXY_STATUS))

static void drop_set(struct field_list *fields, uint32_t set)
{
    for (size_t i = 0; (fields->ids & set) && i < fields->count; i++) {
        fields->items[i].dropped |= (SET(fields->items[i].id) & set) != 0;
    }
}

static void drop_named(struct field_list *fields, struct str name)
{
    for (size_t i = 0; i < fields->count; i++) {
        struct field *field = &fields->items[i];

        if (str_ieq(field->name, name) && !(SET(field->id) & PROTECTED)) {
            field->dropped = true;
        }
    }
}

/* Drops every field that a Connection field names (RFC 9110 7.6.1). The bound keeps a head full of
 * names from costing their number times that of the fields. */
static int drop_nominated(struct field_list *fields)
{
    size_t options = 0;

    if (!(fields->ids & SET(FIELD_CONNECTION))) {
        return 0;
    }
    for (size_t i = 0; i < fields->count; i++) {
        struct str rest = fields->items[i].value;
        struct str option;

        if (fields->items[i].id != FIELD_CONNECTION) {
            continue;
        }
        while (field_next_element(&rest, &option)) {
            if (++options > FORWARD_MAX_OPTIONS) {
                return -E2BIG;
            }
            drop_named(fields, option);
        }
    }
    return 0;
}

static int add_framing(struct field_list *fields, const struct framing *framing)
{
    switch (framing->kind) {
    case BODY_LENGTH:
        return field_list_add_u64(fields, FIELD_CONTENT_LENGTH, framing->length);
    case BODY_CHUNKED:
        return field_list_add_id(fields, FIELD_TRANSFER_ENCODING, STR("chunked"));
    case BODY_NONE:
    case BODY_UNTIL_CLOSE:
        break;
    }
    return 0;
}

static int add_via(struct field_list *fields, unsigned minor_version, struct str name)
{
    struct text via;
    char *ptr;

    if (name.len == 0) {
        return 0;
    }
    ptr = arena_alloc_bytes(fields->arena, sizeof("1.1 ") - 1 + name.len);
    if (!ptr) {
        return -ENOMEM;
    }
    via = text_over(ptr, sizeof("1.1 ") - 1 + name.len);
    text_put(&via, minor_version == 0 ? STR("1.0 ") : STR("1.1 "));
    text_put(&via, name);
    return field_list_add_id(fields, FIELD_VIA, text_str(&via));
}

static int add_host(struct request *request)
{
    char buf[HOST_NAME_MAX_BYTES + ADDR_TEXT_MAX];
    struct text text = TEXT_OVER(buf);
    struct str value;

    host_put(&text, &request->target.host);
    if (request->target.port != 80) {
        text_char(&text, ':');
        text_u64(&text, request->target.port);
    }
    value = arena_copy(request->fields.arena, text_str(&text));
    return value.ptr ? field_list_add_first(&request->fields, FIELD_HOST, value) : -ENOMEM;
}

/* Our element stands in a field line of its own behind those that came (RFC 7239 4). */
static int add_client(struct field_list *fields, const struct forward_options *options)
{
    char buf[ADDR_TEXT_MAX + sizeof("for=\"[]\"")];
    struct text text = TEXT_OVER(buf);
    bool is_ip = options->client.kind == ADDR_IP4 || options->client.kind == ADDR_IP6;
    bool quoted = false;
    enum field_id id = FIELD_X_FORWARDED_FOR;
    struct str value;

    if (options->tell_client == FORWARD_CLIENT_OFF) {
        return 0;
    }
    if (options->tell_client == FORWARD_CLIENT_RFC7239) {
        id = FIELD_FORWARDED;
        quoted = options->client.kind == ADDR_IP6;
        text_put(&text, quoted ? STR("for=\"[") : STR("for="));
    }
    if (is_ip) {
        addr_put(&text, &options->client);
    } else {
        text_put(&text, STR("unknown"));
    }
    if (quoted) {
        text_put(&text, STR("]\""));
    }
    value = arena_copy(fields->arena, text_str(&text));
    if (!value.ptr) {
        return -ENOMEM;
    }
    return field_list_add_id(fields, id, value);
}

/* What of the client's Upgrade goes on: all but h2c, which would have us speak HTTP/2 to an origin
 * on behalf of a client we could not follow. Empty when nothing is left; ptr NULL: memory out. */
static struct str upgrade_protocols(const struct field_list *fields)
{
    struct str protocols = arena_copy(fields->arena, str_make("", 0));
    const struct field *field = field_find(fields, FIELD_UPGRADE);

    for (; field && protocols.ptr; field = field_next(fields, field)) {
        struct str rest = field->value;
        struct str protocol;

        while (field_next_element(&rest, &protocol)) {
            struct str sep = protocols.len > 0 ? STR(", ") : str_make("", 0);

            if (str_ieq(protocol, STR("h2c"))) {
                continue;
            }
            if (arena_append(fields->arena, &protocols, sep.ptr, sep.len) != 0 ||
                arena_append(fields->arena, &protocols, protocol.ptr, protocol.len) != 0) {
                return str_make(NULL, 0);
            }
        }
    }
    return protocols;
}

/* TE and Upgrade, each with the connection option it needs (RFC 9110 10.1.4, 7.8). */
static int add_options(struct field_list *fields, bool te_trailers, struct str upgrade)
{
    struct str options = STR("TE, Upgrade");
    int r = 0;

    if (!te_trailers && upgrade.len == 0) {
        return 0;
    }
    if (upgrade.len == 0) {
        options = STR("TE");
    } else if (!te_trailers) {
        options = STR("Upgrade");
    }
    r = field_list_add_id(fields, FIELD_CONNECTION, options);
    if (r == 0 && te_trailers) {
        r = field_list_add_id(fields, FIELD_TE, STR("trailers"));
    }
    if (r == 0 && upgrade.len > 0) {
        r = field_list_add_id(fields, FIELD_UPGRADE, upgrade);
    }
    return r;
}

static int decrement_max_forwards(struct field_list *fields)
{
    uint64_t hops;

    if (!str_parse_u64(field_value(fields, FIELD_MAX_FORWARDS), UINT64_MAX, &hops)) {
        return 0;
    }
    field_drop_all(fields, FIELD_MAX_FORWARDS);
    return field_list_add_u64(fields, FIELD_MAX_FORWARDS, hops > 0 ? hops - 1 : 0);
}

/* Drops what ends here, and counts the hop. */
static int filter_request(struct request *request)
{
    struct field_list *fields = &request->fields;
    uint32_t ends_here = HOP_BY_HOP | SET(FIELD_HOST) | SET(FIELD_CONTENT_LENGTH) |
                         SET(FIELD_PROXY_AUTHORIZATION) |
                         (request->minor_version == 0 ? SET(FIELD_EXPECT) : 0);
    int r = drop_nominated(fields);

    if (r != 0) {
        return r;
    }
    drop_set(fields, ends_here);
    if (request->method == METHOD_TRACE || request->method == METHOD_OPTIONS) {
        r = decrement_max_forwards(fields);
    }
    return r;
}

int forward_request(struct request *request, const struct forward_options *options)
{
    struct field_list *fields = &request->fields;
    bool te_trailers =
        request->minor_version > 0 && field_has_token(fields, FIELD_TE, STR("trailers"));
    struct str upgrade = STR("");
    int r;

    if (request->wants_upgrade) {
        upgrade = upgrade_protocols(fields);
        if (!upgrade.ptr) {
            return -ENOMEM;
        }
        request->wants_upgrade = upgrade.len > 0;
    }
    r = filter_request(request);
    if (r == 0) {
        r = add_host(request);
    }
    if (r == 0) {
        r = add_framing(fields, &request->framing);
    }
    if (r == 0) {
        r = add_options(fields, te_trailers, upgrade);
    }
    if (r == 0) {
        r = add_client(fields, options);
    }
    if (r == 0) {
        r = add_via(fields, request->minor_version, options->via_name);
    }
    return r;
}

/* For a response without content whose length is worth telling (HEAD, 304): the origin's, if it
 * names one and only one. */
static int keep_length(struct field_list *fields)
{
    const struct field *field = field_find(fields, FIELD_CONTENT_LENGTH);
    struct framing framing = {.kind = BODY_NONE};

    for (; field; field = field_next(fields, field)) {
        uint64_t length;

        if (!str_parse_u64(field->value, UINT64_MAX, &length) ||
            (framing.kind == BODY_LENGTH && framing.length != length)) {
            framing.kind = BODY_NONE;
            break;
        }
        framing = (struct framing){.kind = BODY_LENGTH, .length = length};
    }
    field_drop_all(fields, FIELD_CONTENT_LENGTH);
    return add_framing(fields, &framing);
}

/* A phrase is for people: one that could confuse the next reader is replaced. */
static void clean_reason(struct response *response)
{
    for (size_t i = 0; i < response->reason.len; i++) {
        unsigned char c = (unsigned char)response->reason.ptr[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            response->reason = str_of(h1_reason(response->status));
            return;
        }
    }
}

/* Connection, and Upgrade with a 101. */
static int add_response_options(struct response *response,
                                const struct forward_response_options *options, struct str upgrade)
{
    bool close =
        options->close || options->client_is_1_0 || options->framing.kind == BODY_UNTIL_CLOSE;

    if (response_is_interim(response)) {
        return add_options(&response->fields, false, upgrade);
    }
    return close ? field_list_add_id(&response->fields, FIELD_CONNECTION, STR("close")) : 0;
}

int forward_response(struct response *response, const struct forward_response_options *options)
{
    struct field_list *fields = &response->fields;
    struct str upgrade = response->status == 101 ? field_value(fields, FIELD_UPGRADE) : STR("");
    int r = drop_nominated(fields);

    ASSERT(!(options->client_is_1_0 && options->framing.kind == BODY_CHUNKED));
    if (r != 0) {
        return r;
    }
    clean_reason(response);
    drop_set(fields, HOP_BY_HOP | SET(FIELD_PROXY_AUTHENTICATE));
    if (options->keep_length && options->framing.kind == BODY_NONE) {
        r = keep_length(fields);
    } else {
        field_drop_all(fields, FIELD_CONTENT_LENGTH);
        r = add_framing(fields, &options->framing);
    }
    if (r == 0) {
        r = add_response_options(response, options, upgrade);
    }
    if (r == 0 && !response_is_interim(response) && !field_find(fields, FIELD_DATE)) {
        r = field_list_add_date(fields);
    }
    if (r == 0) {
        r = add_via(fields, response->minor_version, options->via_name);
    }
    return r;
}

void forward_trailers(struct field_list *trailers)
{
    /* More options than drop_nominated takes: then nothing is left, since any field may be named.
     */
    bool keep_none = drop_nominated(trailers) != 0;

    for (size_t i = 0; i < trailers->count; i++) {
        struct field *field = &trailers->items[i];

        if (keep_none || !(SET(field->id) & IN_TRAILERS)) {
            field->dropped = true;
        }
        for (size_t k = 0; !field->dropped && k < ARRAY_LEN(header_only); k++) {
            field->dropped = str_ieq(field->name, str_of(header_only[k]));
        }
    }
}

static size_t find_blank(struct str s)
{
    return MIN(str_find(s, ' '), str_find(s, '\t'));
}

/* Via entry: received-protocol RWS received-by [ RWS comment ]. */
static struct str received_by(struct str entry)
{
    struct str rest = str_trim(str_from(entry, find_blank(entry)));

    return str_head(rest, find_blank(rest));
}

bool forward_has_via(const struct field_list *fields, struct str name)
{
    const struct field *field = field_find(fields, FIELD_VIA);

    for (; field && name.len > 0; field = field_next(fields, field)) {
        struct str rest = field->value;
        struct str entry;

        while (field_next_element(&rest, &entry)) {
            if (str_ieq(received_by(entry), name)) {
                return true;
            }
        }
    }
    return false;
}
