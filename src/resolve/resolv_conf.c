// SPDX-License-Identifier: MIT
#include "resolve/resolv_conf.h"

#include "base/mem.h"

#define DNS_PORT 53
#define RESOLV_CONF_MAX_BYTES (1024U * 1024)

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The word after "nameserver"; what follows it does not count, and comments start at a line's
 * front. */
static bool parse_line(struct str line, struct addr *ret)
{
    struct str key = STR("nameserver");
    size_t end = 0;

    if (!str_starts(line, key) || line.len == key.len || !is_blank(line.ptr[key.len])) {
        return false;
    }
    line = str_trim(str_from(line, key.len));
    while (end < line.len && !is_blank(line.ptr[end])) {
        end++;
    }
    return addr_parse_ip(str_head(line, end), ret);
}

void resolv_conf_parse(struct str content, struct resolv_conf *ret)
{
    struct addr addr;

    *ret = (struct resolv_conf){0};
    while (content.len > 0 && ret->count < RESOLV_CONF_MAX_SERVERS) {
        struct str line = str_head(content, str_find(content, '\n'));

        content = str_from(content, line.len + 1);
        if (parse_line(line, &addr)) {
            addr.port = DNS_PORT;
            ret->servers[ret->count++] = addr;
        }
    }
    if (ret->count == 0) {
        ret->servers[ret->count++] = addr_ip4(127, 0, 0, 1, DNS_PORT);
    }
}

int resolv_conf_read(const struct watched_file *file, struct resolv_conf *ret)
{
    char *text = NULL;
    size_t len = 0;
    int r = watched_file_read(file, RESOLV_CONF_MAX_BYTES, &text, &len);

    if (r == 0) {
        resolv_conf_parse(str_make(text, len), ret);
        mem_free(text);
    }
    return r;
}

bool resolv_conf_eq(const struct resolv_conf *a, const struct resolv_conf *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!addr_eq(&a->servers[i], &b->servers[i])) {
            return false;
        }
    }
    return true;
}
