// SPDX-License-Identifier: MIT
#include <string.h>

#include "conf/conf_value.h"

static bool equal_strings(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool equal_rates(const struct conf_rate *a, const struct conf_rate *b)
{
    return a->count == b->count && a->per_ms == b->per_ms;
}

/* Where it stands is no part of it. */
static bool equal_binds(const struct conf_bind *a, const struct conf_bind *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case CONF_BIND_IP:
        return addr_eq(&a->addr, &b->addr);
    case CONF_BIND_ANY:
        return a->addr.port == b->addr.port;
    case CONF_BIND_UNIX:
        return equal_strings(a->path, b->path);
    case CONF_BIND_SYSTEMD:
    case CONF_BIND_OFF:
    case CONF_BIND_AUTO:
        break;
    }
    return true;
}

static bool equal_addrs(const struct conf_addr *a, const struct conf_addr *b)
{
    return a->class == b->class &&
           (a->class != CONF_ADDR_NET ||
            (a->net.bits == b->net.bits && addr_eq(&a->net.addr, &b->net.addr)));
}

static bool equal_listeners(const struct conf_listener *a, const struct conf_listener *b)
{
    bool equal = a->bind_count == b->bind_count;

    for (size_t i = 0; equal && i < a->bind_count; i++) {
        equal = equal_binds(&a->binds[i], &b->binds[i]);
    }
    return equal;
}

static bool equal_servers(const struct conf *a, const struct conf *b)
{
    bool equal = a->dns.server_count == b->dns.server_count;

    for (size_t i = 0; equal && i < a->dns.server_count; i++) {
        equal = addr_eq(&a->dns.servers[i], &b->dns.servers[i]);
    }
    return equal;
}

static bool equal_allowed(const struct conf *a, const struct conf *b)
{
    bool equal = a->admin.allow_count == b->admin.allow_count;

    for (size_t i = 0; equal && i < a->admin.allow_count; i++) {
        equal = equal_addrs(&a->admin.allow[i], &b->admin.allow[i]);
    }
    return equal;
}

bool conf_value_eq(const struct conf_key *key, const void *a, const void *b)
{
    const void *x = (const char *)a + key->offset;
    const void *y = (const char *)b + key->offset;

    switch (key->type) {
    case CONF_TYPE_COUNT:
    case CONF_TYPE_SIZE:
    case CONF_TYPE_TIME:
        return *(const uint64_t *)x == *(const uint64_t *)y;
    case CONF_TYPE_RATE:
        return equal_rates(x, y);
    case CONF_TYPE_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case CONF_TYPE_WORD:
        return *(const unsigned *)x == *(const unsigned *)y;
    case CONF_TYPE_TOKEN:
    case CONF_TYPE_TEXT:
    case CONF_TYPE_ACCOUNT:
    case CONF_TYPE_PATH:
        return equal_strings(*(const char *const *)x, *(const char *const *)y);
    case CONF_TYPE_MODE:
        return *(const mode_t *)x == *(const mode_t *)y;
    case CONF_TYPE_BIND:
        return equal_binds(x, y);
    case CONF_TYPE_BINDS:
        return equal_listeners(a, b);
    case CONF_TYPE_SERVERS:
        return equal_servers(a, b);
    case CONF_TYPE_ADDRS:
        return equal_allowed(a, b);
    }
    return false;
}
