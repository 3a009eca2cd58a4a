// SPDX-License-Identifier: MIT
#include "http/persist.h"

#include "base/attr.h"
#include "base/str.h"

bool persist_is_bound(const struct field_list *fields, enum field_id id)
{
    const struct field *field = field_find(fields, id);

    for (; field; field = field_next(fields, field)) {
        struct str rest = field->value;
        struct str element;

        while (field_next_element(&rest, &element)) {
            struct str scheme =
                str_head(element, MIN(str_find(element, ' '), str_find(element, '\t')));

            if (str_ieq(scheme, STR("NTLM")) || str_ieq(scheme, STR("Negotiate"))) {
                return true;
            }
        }
    }
    return false;
}

uint64_t persist_idle_ms(const struct field_list *fields, uint64_t before_ms)
{
    struct str rest = field_value(fields, FIELD_KEEP_ALIVE);
    struct str element;
    uint64_t idle_ms = before_ms;
    uint64_t seconds;

    while (field_next_element(&rest, &element)) {
        if (str_istarts(element, STR("timeout=")) &&
            str_parse_u64(str_from(element, 8), UINT32_MAX, &seconds)) {
            idle_ms = seconds > 0 ? (seconds - 1) * 1000 : 0;
        }
    }
    return idle_ms;
}
