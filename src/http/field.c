// SPDX-License-Identifier: MIT
#include "http/field.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define FIELD_FIRST_CAP 32
#define FIELD_NAME_MAX 19 /* Proxy-Authorization */

static const char *const names[FIELD_ID_COUNT] = {
    [FIELD_OTHER] = "",
    [FIELD_ACCEPT] = "Accept",
    [FIELD_CONNECTION] = "Connection",
    [FIELD_CONTENT_LENGTH] = "Content-Length",
    [FIELD_CONTENT_TYPE] = "Content-Type",
    [FIELD_DATE] = "Date",
    [FIELD_EXPECT] = "Expect",
    [FIELD_FORWARDED] = "Forwarded",
    [FIELD_HOST] = "Host",
    [FIELD_HTTP2_SETTINGS] = "HTTP2-Settings",
    [FIELD_KEEP_ALIVE] = "Keep-Alive",
    [FIELD_MAX_FORWARDS] = "Max-Forwards",
    [FIELD_PROXY_AUTHENTICATE] = "Proxy-Authenticate",
    [FIELD_PROXY_AUTHORIZATION] = "Proxy-Authorization",
    [FIELD_PROXY_CONNECTION] = "Proxy-Connection",
    [FIELD_PROXY_STATUS] = "Proxy-Status",
    [FIELD_REFERER] = "Referer",
    [FIELD_TE] = "TE",
    [FIELD_TRAILER] = "Trailer",
    [FIELD_TRANSFER_ENCODING] = "Transfer-Encoding",
    [FIELD_UPGRADE] = "Upgrade",
    [FIELD_USER_AGENT] = "User-Agent",
    [FIELD_VIA] = "Via",
    [FIELD_X_FORWARDED_FOR] = "X-Forwarded-For",
};

/* The ids whose names have this length, FIELD_OTHER (0) behind the last: at most three
 * comparisons, nearly all of which end at the first letter. */
static const unsigned char by_length[FIELD_NAME_MAX + 1][4] = {
    [2] = {FIELD_TE},
    [3] = {FIELD_VIA},
    [4] = {FIELD_HOST, FIELD_DATE},
    [6] = {FIELD_ACCEPT, FIELD_EXPECT},
    [7] = {FIELD_REFERER, FIELD_UPGRADE, FIELD_TRAILER},
    [9] = {FIELD_FORWARDED},
    [10] = {FIELD_CONNECTION, FIELD_USER_AGENT, FIELD_KEEP_ALIVE},
    [12] = {FIELD_CONTENT_TYPE, FIELD_MAX_FORWARDS, FIELD_PROXY_STATUS},
    [14] = {FIELD_CONTENT_LENGTH, FIELD_HTTP2_SETTINGS},
    [15] = {FIELD_X_FORWARDED_FOR},
    [16] = {FIELD_PROXY_CONNECTION},
    [17] = {FIELD_TRANSFER_ENCODING},
    [18] = {FIELD_PROXY_AUTHENTICATE},
    [19] = {FIELD_PROXY_AUTHORIZATION},
};

enum field_id field_identify(struct str name)
{
    const unsigned char *ids;

    if (name.len > FIELD_NAME_MAX) {
        return FIELD_OTHER;
    }
    ids = by_length[name.len];
    for (size_t i = 0; ids[i] != FIELD_OTHER; i++) {
        if (str_ieq(name, str_make(names[ids[i]], name.len))) {
            return (enum field_id)ids[i];
        }
    }
    return FIELD_OTHER;
}

const char *field_name(enum field_id id)
{
    return names[id];
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

static int insert(struct field_list *list, size_t at, struct field field)
{
    if (list->count == list->cap) {
        int r = grow(list);

        if (r != 0) {
            return r;
        }
    }
    memmove(list->items + at + 1, list->items + at, (list->count - at) * sizeof(*list->items));
    list->items[at] = field;
    list->count++;
    return 0;
}

int field_list_add(struct field_list *list, struct str name, struct str value)
{
    return insert(list, list->count,
                  (struct field){.name = name, .value = value, .id = field_identify(name)});
}

int field_list_add_id(struct field_list *list, enum field_id id, struct str value)
{
    return insert(list, list->count,
                  (struct field){.name = str_of(names[id]), .value = value, .id = id});
}

int field_list_add_first(struct field_list *list, enum field_id id, struct str value)
{
    return insert(list, 0, (struct field){.name = str_of(names[id]), .value = value, .id = id});
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
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].id == id) {
            list->items[i].dropped = true;
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
