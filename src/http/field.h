// SPDX-License-Identifier: MIT
#pragma once

/*
 * A list of header or trailer fields in an arena: names and values as they
 * came, in their order, repeated ones repeated (RFC 9110 5.3). Known names
 * are recognised once, when a field is added.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/str.h"

enum field_id {
    FIELD_OTHER,
    FIELD_ACCEPT,
    FIELD_AUTHORIZATION,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_TYPE,
    FIELD_DATE,
    FIELD_EXPECT,
    FIELD_FORWARDED,
    FIELD_HOST,
    FIELD_HTTP2_SETTINGS,
    FIELD_KEEP_ALIVE,
    FIELD_MAX_FORWARDS,
    FIELD_PROXY_AUTHENTICATE,
    FIELD_PROXY_AUTHORIZATION,
    FIELD_PROXY_CONNECTION,
    FIELD_PROXY_STATUS,
    FIELD_REFERER,
    FIELD_TE,
    FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE,
    FIELD_USER_AGENT,
    FIELD_VIA,
    FIELD_WWW_AUTHENTICATE,
    FIELD_X_FORWARDED_FOR,
    FIELD_ID_COUNT,
};

struct field {
    struct str name;
    struct str value;
    enum field_id id;
    bool dropped;  /* not to be sent on */
    bool verbatim; /* name and value stand in memory as "name: value" CRLF; of one list all that do
                      are of one block of memory */
};

struct field_list {
    struct arena *arena; /* borrowed */
    struct field *items; /* in the arena */
    size_t count;
    size_t cap;
    uint32_t ids; /* a bit for each id that was ever added: what is not there is not looked for */
};

void field_list_init(struct field_list *list, struct arena *arena);
/* name and value are borrowed for the list's life (usually the same arena). 0 or -ENOMEM. */
MUST_USE int field_list_add(struct field_list *list, struct str name, struct str value);
/* The same for a line as it was received. */
MUST_USE int field_list_add_line(struct field_list *list, struct str name, struct str value);
/* The same as field_list_add with a known field's normal spelling as its name, at the end / before
 * all others. */
MUST_USE int field_list_add_id(struct field_list *list, enum field_id id, struct str value);
MUST_USE int field_list_add_first(struct field_list *list, enum field_id id, struct str value);
/* A number in decimal digits; the time now. */
MUST_USE int field_list_add_u64(struct field_list *list, enum field_id id, uint64_t value);
MUST_USE int field_list_add_date(struct field_list *list);
enum field_id field_identify(struct str name);
/* The normal spelling; "" for FIELD_OTHER. */
const char *field_name(enum field_id id);
/* Whether one with this id was ever added: without a look at the fields. */
static inline bool field_list_had(const struct field_list *list, enum field_id id)
{
    return (list->ids & 1U << id) != 0;
}
/* The first field with this id that is not dropped, or NULL. field_next: the one after field. */
const struct field *field_find(const struct field_list *list, enum field_id id);
const struct field *field_next(const struct field_list *list, const struct field *field);
/* Value of the first, or the empty view. */
struct str field_value(const struct field_list *list, enum field_id id);
/* Number of fields with this id that are not dropped. */
size_t field_count(const struct field_list *list, enum field_id id);
void field_drop_all(struct field_list *list, enum field_id id);
/* The same, and nobody finds their values in memory any more: they must stand in the arena. */
void field_wipe_all(struct field_list *list, enum field_id id);
/* Whether token stands in the comma separated list made of all values with this id (RFC
 * 9110 5.6.1), compared without case. */
bool field_has_token(const struct field_list *list, enum field_id id, struct str token);
/* Next element of a comma separated list (quoted strings respected, empty elements skipped); false
 * at the end. *rest starts as the whole value. */
bool field_next_element(struct str *rest, struct str *ret);
