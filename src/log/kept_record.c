// SPDX-License-Identifier: MIT
#include "log/kept_record.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slab.h"
#include "base/str.h"
#include "log/record.h"

/* The strings, in the order in which they are kept. */
static const size_t strings[] = {
    offsetof(struct log_record, id),           offsetof(struct log_record, user),
    offsetof(struct log_record, listener),     offsetof(struct log_record, method),
    offsetof(struct log_record, target),       offsetof(struct log_record, version),
    offsetof(struct log_record, rule),         offsetof(struct log_record, would_deny),
    offsetof(struct log_record, route),        offsetof(struct log_record, parent),
    offsetof(struct log_record, referer),      offsetof(struct log_record, user_agent),
    offsetof(struct log_record, content_type),
};

struct kept_record {
    uint64_t start_wall_ms;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint32_t dns_ms, connect_ms, wait_ms;
    uint16_t status;
    bool reused;
    bool is_connect;
    uint16_t lens[ARRAY_LEN(strings)];
    char text[];
};

/* The line cuts a string long before this. */
static uint16_t kept_len(struct str s)
{
    return (uint16_t)MIN(s.len, UINT16_MAX);
}

static const struct str *string_at(const struct log_record *record, size_t i)
{
    return (const struct str *)(const void *)((const char *)record + strings[i]);
}

struct kept_record *kept_record_new(struct slabs *slabs, const struct log_record *record)
{
    size_t text_len = 0;
    struct kept_record *kept;
    char *at;

    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        text_len += kept_len(*string_at(record, i));
    }
    kept = slab_alloc(slabs, offsetof(struct kept_record, text) + text_len);
    if (!kept) {
        return NULL;
    }
    kept->start_wall_ms = record->start_wall_ms;
    kept->bytes_in = record->bytes_in;
    kept->bytes_out = record->bytes_out;
    kept->dns_ms = record->dns_ms;
    kept->connect_ms = record->connect_ms;
    kept->wait_ms = record->wait_ms;
    kept->status = (uint16_t)record->status;
    kept->reused = record->reused;
    kept->is_connect = record->is_connect;
    at = kept->text;
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        struct str s = *string_at(record, i);

        kept->lens[i] = kept_len(s);
        if (kept->lens[i] > 0) {
            memcpy(at, s.ptr, kept->lens[i]);
        }
        at += kept->lens[i];
    }
    return kept;
}

void kept_record_free(struct slabs *slabs, struct kept_record *kept)
{
    slab_free(slabs, kept);
}

void kept_record_get(const struct kept_record *kept, struct log_record *ret)
{
    const char *at = kept->text;

    *ret = (struct log_record){
        .event = "request",
        .start_wall_ms = kept->start_wall_ms,
        .bytes_in = kept->bytes_in,
        .bytes_out = kept->bytes_out,
        .dns_ms = kept->dns_ms,
        .connect_ms = kept->connect_ms,
        .wait_ms = kept->wait_ms,
        .status = kept->status,
        .reused = kept->reused,
        .is_connect = kept->is_connect,
    };
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        struct str *s = (struct str *)(void *)((char *)ret + strings[i]);

        *s = str_make(at, kept->lens[i]);
        at += kept->lens[i];
    }
}
