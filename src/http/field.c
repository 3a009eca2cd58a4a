// SPDX-License-Identifier: MIT
#include "http/field.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/text.h"

#define FIELD_FIRST_CAP 16

static_assert(FIELD_ID_COUNT <= 32, "field_list.ids has a bit for each");

/* A literal's view, as a constant. clang-format's releases differ about it. */
/* clang-format off */
#define NAME(literal) {(literal), sizeof(literal) - 1}
/* clang-format on */

static const struct str names[FIELD_ID_COUNT] = {
    [FIELD_OTHER] = NAME(""),
    [FIELD_ACCEPT] = NAME("Accept"),
    [FIELD_AUTHORIZATION] = NAME("Authorization"),
    [FIELD_CONNECTION] = NAME("Connection"),
    [FIELD_CONTENT_LENGTH] = NAME("Content-Length"),
    [FIELD_CONTENT_TYPE] = NAME("Content-Type"),
    [FIELD_DATE] = NAME("Date"),
    [FIELD_EXPECT] = NAME("Expect"),
    [FIELD_FORWARDED] = NAME("Forwarded"),
    [FIELD_HOST] = NAME("Host"),
    [FIELD_HTTP2_SETTINGS] = NAME("HTTP2-Settings"),
    [FIELD_KEEP_ALIVE] = NAME("Keep-Alive"),
    [FIELD_MAX_FORWARDS] = NAME("Max-Forwards"),
    [FIELD_PROXY_AUTHENTICATE] = NAME("Proxy-Authenticate"),
    [FIELD_PROXY_AUTHORIZATION] = NAME("Proxy-Authorization"),
    [FIELD_PROXY_CONNECTION] = NAME("Proxy-Connection"),
    [FIELD_PROXY_STATUS] = NAME("Proxy-Status"),
    [FIELD_REFERER] = NAME("Referer"),
    [FIELD_TE] = NAME("TE"),
    [FIELD_TRAILER] = NAME("Trailer"),
    [FIELD_TRANSFER_ENCODING] = NAME("Transfer-Encoding"),
    [FIELD_UPGRADE] = NAME("Upgrade"),
    [FIELD_USER_AGENT] = NAME("User-Agent"),
    [FIELD_VIA] = NAME("Via"),
    [FIELD_WWW_AUTHENTICATE] = NAME("WWW-Authenticate"),
    [FIELD_X_FORWARDED_FOR] = NAME("X-Forwarded-For"),
};

/* The one known name that has this length and this first letter (in lower case): nearly all others
 * are told from it without a look at their letters. */
static enum field_id candidate(size_t len, char first)
{
#define KEY(len, letter) ((len) << 8 | (letter))
    switch (len > UINT8_MAX ? 0 : KEY(len, (unsigned char)first)) {
    case KEY(2, 't'):
        return FIELD_TE;
    case KEY(3, 'v'):
        return FIELD_VIA;
    case KEY(4, 'd'):
        return FIELD_DATE;
    case KEY(4, 'h'):
        return FIELD_HOST;
    case KEY(6, 'a'):
        return FIELD_ACCEPT;
    case KEY(6, 'e'):
        return FIELD_EXPECT;
    case KEY(7, 'r'):
        return FIELD_REFERER;
    case KEY(7, 't'):
        return FIELD_TRAILER;
    case KEY(7, 'u'):
        return FIELD_UPGRADE;
    case KEY(9, 'f'):
        return FIELD_FORWARDED;
    case KEY(10, 'c'):
        return FIELD_CONNECTION;
    case KEY(10, 'k'):
        return FIELD_KEEP_ALIVE;
    case KEY(10, 'u'):
        return FIELD_USER_AGENT;
    case KEY(12, 'c'):
        return FIELD_CONTENT_TYPE;
    case KEY(12, 'm'):
        return FIELD_MAX_FORWARDS;
    case KEY(12, 'p'):
        return FIELD_PROXY_STATUS;
    case KEY(13, 'a'):
        return FIELD_AUTHORIZATION;
    case KEY(14, 'c'):
        return FIELD_CONTENT_LENGTH;
    case KEY(14, 'h'):
        return FIELD_HTTP2_SETTINGS;
    case KEY(15, 'x'):
        return FIELD_X_FORWARDED_FOR;
    case KEY(16, 'p'):
        return FIELD_PROXY_CONNECTION;
    case KEY(16, 'w'):
        return FIELD_WWW_AUTHENTICATE;
    case KEY(17, 't'):
        return FIELD_TRANSFER_ENCODING;
    case KEY(18, 'p'):
        return FIELD_PROXY_AUTHENTICATE;
    case KEY(19, 'p'):
        return FIELD_PROXY_AUTHORIZATION;
    default:
        return FIELD_OTHER;
    }
#undef KEY
}

enum field_id field_identify(struct str name)
{
    enum field_id id = name.len > 0 ? candidate(name.len, str_lower(name.ptr[0])) : FIELD_OTHER;

    return id != FIELD_OTHER && str_ieq(name, names[id]) ? id : FIELD_OTHER;
}

const char *field_name(enum field_id id)
{
    return names[id].ptr;
}

void field_list_init(struct field_list *list, struct arena *arena)
{
    *list = (struct field_list){.arena = arena};
}

static int grow(struct field_list *list)
{
    size_t cap = list->cap > 0 ? list->cap * 2 : FIELD_FIRST_CAP;
    struct field *items = arena_alloc(list->arena, cap * sizeof(*items));

    if (!items) {
        return -ENOMEM;
    }
    if (list->count > 0) {
        memcpy(items, list->items, list->count * sizeof(*items));
    }
    list->items = items;
    list->cap = cap;
    return 0;
}

static inline int add(struct field_list *list, struct field field)
{
    if (UNLIKELY(list->count == list->cap) && grow(list) != 0) {
        return -ENOMEM;
    }
    list->ids |= 1U << field.id;
    list->items[list->count++] = field;
    return 0;
}

int field_list_add(struct field_list *list, struct str name, struct str value)
{
    return add(list, (struct field){.name = name, .value = value, .id = field_identify(name)});
}

/* Behind a value that is not empty a line has its CRLF at the least. */
static bool is_verbatim(struct str name, struct str value)
{
    const char *colon = name.ptr + name.len;
    const char *end = value.ptr + value.len;

    return value.len > 0 && value.ptr == colon + 2 && colon[0] == ':' && colon[1] == ' ' &&
           end[0] == '\r' && end[1] == '\n';
}

int field_list_add_line(struct field_list *list, struct str name, struct str value)
{
    return add(list, (struct field){.name = name,
                                    .value = value,
                                    .id = field_identify(name),
                                    .verbatim = is_verbatim(name, value)});
}

int field_list_add_id(struct field_list *list, enum field_id id, struct str value)
{
    return add(list, (struct field){.name = names[id], .value = value, .id = id});
}

int field_list_add_first(struct field_list *list, enum field_id id, struct str value)
{
    struct field field = {.name = names[id], .value = value, .id = id};
    int r = add(list, field);

    if (r == 0) {
        memmove(list->items + 1, list->items, (list->count - 1) * sizeof(*list->items));
        list->items[0] = field;
    }
    return r;
}

int field_list_add_u64(struct field_list *list, enum field_id id, uint64_t value)
{
    char digits[20];
    struct text text = TEXT_OVER(digits);
    struct str copy;

    text_u64(&text, value);
    copy = arena_copy(list->arena, text_str(&text));
    return copy.ptr ? field_list_add_id(list, id, copy) : -ENOMEM;
}

int field_list_add_date(struct field_list *list)
{
    char *date = arena_alloc_bytes(list->arena, CLOCK_HTTP_LEN);

    if (!date) {
        return -ENOMEM;
    }
    clock_format_http(clock_wall_ms(), date);
    return field_list_add_id(list, FIELD_DATE, str_make(date, CLOCK_HTTP_LEN));
}

static const struct field *find_from(const struct field_list *list, size_t at, enum field_id id)
{
    if (!field_list_had(list, id)) {
        return NULL;
    }
    for (; at < list->count; at++) {
        if (list->items[at].id == id && !list->items[at].dropped) {
            return &list->items[at];
        }
    }
    return NULL;
}

const struct field *field_find(const struct field_list *list, enum field_id id)
{
    return find_from(list, 0, id);
}

const struct field *field_next(const struct field_list *list, const struct field *field)
{
    return find_from(list, (size_t)(field - list->items) + 1, field->id);
}

struct str field_value(const struct field_list *list, enum field_id id)
{
    const struct field *field = field_find(list, id);

    return field ? field->value : str_make(NULL, 0);
}

size_t field_count(const struct field_list *list, enum field_id id)
{
    size_t count = 0;

    for (const struct field *field = field_find(list, id); field; field = field_next(list, field)) {
        count++;
    }
    return count;
}

void field_drop_all(struct field_list *list, enum field_id id)
{
    for (size_t i = 0; field_list_had(list, id) && i < list->count; i++) {
        if (list->items[i].id == id) {
            list->items[i].dropped = true;
        }
    }
}

void field_wipe_all(struct field_list *list, enum field_id id)
{
    for (size_t i = 0; field_list_had(list, id) && i < list->count; i++) {
        struct field *field = &list->items[i];

        if (field->id == id) {
            secret_wipe((char *)(uintptr_t)field->value.ptr, field->value.len);
            field->dropped = true;
        }
    }
}

bool field_has_token(const struct field_list *list, enum field_id id, struct str token)
{
    for (const struct field *field = field_find(list, id); field; field = field_next(list, field)) {
        struct str rest = field->value;
        struct str element;

        while (field_next_element(&rest, &element)) {
            if (str_ieq(element, token)) {
                return true;
            }
        }
    }
    return false;
}

/* Length of the text up to a comma that stands outside quotes. */
static size_t element_len(struct str s)
{
    bool quoted = false;
    size_t i = 0;

    for (; i < s.len && (quoted || s.ptr[i] != ','); i++) {
        if (s.ptr[i] == '"') {
            quoted = !quoted;
        } else if (quoted && s.ptr[i] == '\\' && i + 1 < s.len) {
            i++;
        }
    }
    return i;
}

bool field_next_element(struct str *rest, struct str *ret)
{
    while (rest->len > 0) {
        size_t len = element_len(*rest);
        struct str element = str_trim(str_head(*rest, len));

        *rest = str_from(*rest, len + 1);
        if (element.len > 0) {
            *ret = element;
            return true;
        }
    }
    return false;
}
