// SPDX-License-Identifier: MIT
#include "resolve/hosts_file.h"

#include <errno.h>

#include "base/err.h"
#include "base/host.h"
#include "base/mem.h"
#include "log/log.h"

#define HOSTS_MAX_BYTES (256U * 1024 * 1024)
#define HOSTS_FREE_CHUNKS 1 /* kept while parsing; the table never shrinks */

struct hosts_addr {
    struct hosts_addr *next;
    struct addr addr;
};

struct hosts_entry {
    struct map_node node;
    struct hosts_addr *first;
    struct hosts_addr **end;
    size_t counts[2]; /* IPv4, IPv6; never over RESOLVE_MAX_ADDRS */
};

static struct hosts_entry *entry_of(struct map_node *node)
{
    return CONTAINER_OF(node, struct hosts_entry, node);
}

static struct hosts_entry *entry_get(struct hosts_table *table, struct str name)
{
    struct map_node *node = map_find(&table->names, name);
    struct hosts_entry *entry;

    if (node) {
        return entry_of(node);
    }
    entry = arena_alloc(&table->arena, sizeof(*entry));
    name = arena_copy(&table->arena, name);
    if (!entry || !name.ptr) {
        return NULL;
    }
    *entry = (struct hosts_entry){.node.key = name, .end = &entry->first};
    map_add(&table->names, &entry->node);
    return entry;
}

static bool entry_has(const struct hosts_entry *entry, const struct addr *addr)
{
    for (const struct hosts_addr *at = entry->first; at; at = at->next) {
        if (addr_eq(&at->addr, addr)) {
            return true;
        }
    }
    return false;
}

static int add_name(struct hosts_table *table, struct str name, const struct addr *addr)
{
    struct hosts_entry *entry = entry_get(table, name);
    size_t *count = entry ? &entry->counts[addr->kind == ADDR_IP6] : NULL;
    struct hosts_addr *item;

    if (!entry) {
        return -ENOMEM;
    }
    if (*count == RESOLVE_MAX_ADDRS || entry_has(entry, addr)) {
        return 0;
    }
    item = arena_alloc(&table->arena, sizeof(*item));
    if (!item) {
        return -ENOMEM;
    }
    *item = (struct hosts_addr){.addr = *addr};
    *entry->end = item;
    entry->end = &item->next;
    (*count)++;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static struct str next_word(struct str *line)
{
    size_t start = 0;
    size_t end;

    while (start < line->len && is_blank(line->ptr[start])) {
        start++;
    }
    end = start;
    while (end < line->len && !is_blank(line->ptr[end])) {
        end++;
    }
    struct str word = str_make(line->ptr + start, end - start);

    *line = str_from(*line, end);
    return word;
}

static int parse_line(struct hosts_table *table, struct str line)
{
    struct addr addr;
    struct host host;
    int r = 0;

    line = str_head(line, str_find(line, '#'));
    if (!addr_parse_ip(next_word(&line), &addr)) {
        return 0;
    }
    while (r == 0) {
        struct str word = next_word(&line);

        if (word.len == 0) {
            return 0;
        }
        if (host_parse_bare(word, &host) == 0 && !host.is_literal) {
            r = add_name(table, host_name(&host), &addr);
        }
    }
    return r;
}

static struct hosts_table *table_new(void)
{
    struct hosts_table *table = mem_zalloc(sizeof(*table));

    if (table && map_init(&table->names) < 0) {
        mem_free(table);
        return NULL;
    }
    if (table) {
        arena_pool_init(&table->chunks, NULL, NULL);
        arena_init(&table->arena, &table->chunks);
    }
    return table;
}

void hosts_table_free(struct hosts_table *table)
{
    if (table) {
        map_deinit(&table->names);
        arena_reset(&table->arena);
        mem_free(table);
    }
}

struct hosts_table *hosts_table_parse(struct str content)
{
    struct hosts_table *table = table_new();

    content = str_skip_bom(content);
    while (table && content.len > 0) {
        struct str line = str_head(content, str_find(content, '\n'));

        content = str_from(content, line.len + 1);
        if (parse_line(table, line) < 0) {
            hosts_table_free(table);
            return NULL;
        }
    }
    return table;
}

static size_t put_kind(const struct hosts_entry *entry, enum addr_kind kind, struct addr *ret_addrs)
{
    size_t count = 0;

    for (const struct hosts_addr *at = entry->first; at; at = at->next) {
        if (at->addr.kind == kind) {
            ASSERT(count < RESOLVE_MAX_ADDRS);
            ret_addrs[count++] = at->addr;
        }
    }
    return count;
}

size_t hosts_table_find(const struct hosts_table *table, struct str name, bool want_ip4,
                        bool want_ip6, struct addr *ret_addrs)
{
    struct map_node *node = map_find(&table->names, name);
    size_t count = 0;

    if (node && want_ip6) {
        count += put_kind(entry_of(node), ADDR_IP6, ret_addrs);
    }
    if (node && want_ip4) {
        count += put_kind(entry_of(node), ADDR_IP4, ret_addrs + count);
    }
    return count;
}

void hosts_file_init(struct hosts_file *hosts, const char *path)
{
    *hosts = (struct hosts_file){0};
    watched_file_init(&hosts->file, path);
}

void hosts_file_deinit(struct hosts_file *hosts)
{
    hosts_table_free(hosts->table);
    hosts->table = NULL;
}

void hosts_file_refresh(struct hosts_file *hosts, uint64_t now_ms)
{
    struct hosts_table *table = NULL;
    char *text = NULL;
    size_t len = 0;
    int r;

    if (!watched_file_changed(&hosts->file, now_ms)) {
        return;
    }
    r = watched_file_read(&hosts->file, HOSTS_MAX_BYTES, &text, &len);
    if (r == 0) {
        table = hosts_table_parse(str_make(text, len));
    }
    mem_free(text);
    if (!table) {
        watched_file_failed(&hosts->file);
        log_event(LOG_DEBUG, "hosts", "%s: cannot be read (errno %d), the old content stays",
                  hosts->file.path, r < 0 ? -r : ENOMEM);
        return;
    }
    log_event(LOG_DEBUG, "hosts", "%s: %zu names", hosts->file.path, table->names.count);
    hosts_table_free(hosts->table);
    hosts->table = table;
}

size_t hosts_file_find(const struct hosts_file *hosts, struct str name, bool want_ip4,
                       bool want_ip6, struct addr *ret_addrs)
{
    return hosts->table ? hosts_table_find(hosts->table, name, want_ip4, want_ip6, ret_addrs) : 0;
}
