// SPDX-License-Identifier: MIT
#include "conf/conf_keys.h"

#include <string.h>

#include "conf/conf.h"
#include "log/log.h"
#include "log/record.h"

#define K ((uint64_t)1024)
#define M (1024 * K)
#define G (1024 * M)
#define S ((uint64_t)1000)
#define H (3600 * S)
#define D (24 * H)
#define TIME_MAX (365 * D)
#define COUNT_MAX 10000000

#define CONF(field) offsetof(struct conf, field)
#define LISTENER(field) offsetof(struct conf_listener, field)

static const char *const explain_words[] = {[CONF_EXPLAIN_RULE] = "rule",
                                            [CONF_EXPLAIN_CLASS] = "class",
                                            [CONF_EXPLAIN_NONE] = "none",
                                            NULL};
static const char *const forwarded_words[] = {[CONF_FORWARDED_OFF] = "off",
                                              [CONF_FORWARDED_RFC7239] = "rfc7239",
                                              [CONF_FORWARDED_XFF] = "x-forwarded-for",
                                              NULL};
static const char *const family_words[] = {
    [CONF_FAMILY_ANY] = "any", [CONF_FAMILY_IP4] = "ipv4", [CONF_FAMILY_IP6] = "ipv6", NULL};
static const char *const access_words[] = {[LOG_FORMAT_LOGFMT] = "logfmt",
                                           [LOG_FORMAT_JSON] = "json",
                                           [LOG_FORMAT_COMBINED] = "combined",
                                           [LOG_FORMAT_COMMON] = "common",
                                           [LOG_FORMAT_SQUID] = "squid",
                                           [LOG_FORMAT_OFF] = "off",
                                           NULL};
static const char *const tunnels_words[] = {
    [CONF_TUNNELS_END] = "end", [CONF_TUNNELS_BOTH] = "both", NULL};
static const char *const level_words[] = {
    [LOG_ERROR] = "error", [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info",   [LOG_DEBUG] = "debug",     NULL};

const struct conf_section_kind conf_section_kinds[] = {
    {.word = "server"},
    {.word = "listen", .is_named = true},
    {.word = "timeouts"},
    {.word = "limits"},
    {.word = "dns"},
    {.word = "pool"},
    {.word = "log"},
    {.word = "auth"},
    {.word = "parent", .is_named = true, .is_later = true},
    {.word = "admin"},
    {.word = "access", .is_rules = true},
    {.word = "route", .is_rules = true, .is_later = true},
    {.word = "limit", .is_rules = true, .is_later = true},
};
const size_t conf_section_kind_count = ARRAY_LEN(conf_section_kinds);

/* clang-format off */
const struct conf_key conf_keys[] = {
    {"server", "workers", CONF_TYPE_COUNT, CONF(server.workers), "auto",
     .min = 1, .max = 1024, .may_be_auto = true, .reload = CONF_RESTART,
     .help = "event-loop threads; auto is the number of CPUs the process may run on"},
    {"server", "user", CONF_TYPE_ACCOUNT, CONF(server.user), "",
     .none = "", .reload = CONF_RESTART,
     .help = "user to become after binding, when started as root"},
    {"server", "grace", CONF_TYPE_TIME, CONF(server.grace_ms), "30s",
     .max = TIME_MAX,
     .help = "after TERM, how long exchanges and tunnels may go on before they are cut"},
    {"server", "drain_delay", CONF_TYPE_TIME, CONF(server.drain_delay_ms), "0s",
     .max = TIME_MAX,
     .help = "after TERM, how long new connections are still accepted"},
    {"server", "name", CONF_TYPE_TOKEN, CONF(server.name), "viaduct",
     .help = "pseudonym in Via, Proxy-Status and error pages"},
    {"server", "via", CONF_TYPE_BOOL, CONF(server.via), "on",
     .help = "off sends no Via and no Proxy-Status on forwarded messages"},
    {"server", "explain", CONF_TYPE_WORD, CONF(server.explain), "rule",
     .words = explain_words,
     .help = "what a refusal tells the client: rule (its name), class, none"},
    {"server", "max_connections", CONF_TYPE_COUNT, CONF(server.max_connections), "auto",
     .min = 1, .max = COUNT_MAX, .may_be_auto = true,
     .help = "client connections; auto follows the descriptor limit, at most 1,000,000"},
    {"server", "max_connections_per_client", CONF_TYPE_COUNT,
     CONF(server.max_connections_per_client), "0",
     .min = 1, .max = COUNT_MAX, .zero_is_off = true,
     .help = "per client address (IPv6: per /64), beyond it 429; 0 is no limit"},
    {"server", "tcp_keepalive", CONF_TYPE_TIME, CONF(server.tcp_keepalive_ms), "60s",
     .min = 1 * S, .max = 32767 * S, .zero_is_off = true,
     .help = "idle time before TCP probes on client and upstream sockets; 0 is off"},

    {"listen", "address", CONF_TYPE_BINDS, LISTENER(binds), "127.0.0.1:8080, [::1]:8080",
     .help = "IP:PORT, [IP6]:PORT, *:PORT (both families), unix:/PATH or systemd; a list"},
    {"listen", "mode", CONF_TYPE_MODE, LISTENER(mode), "0660",
     .help = "permissions of a unix socket"},
    {"listen", "group", CONF_TYPE_ACCOUNT, LISTENER(group), "",
     .none = "",
     .help = "group of a unix socket"},
    {"listen", "forwarded", CONF_TYPE_WORD, LISTENER(forwarded), "off",
     .words = forwarded_words,
     .help = "tell origins the client's address: off, rfc7239, x-forwarded-for"},

    {"timeouts", "header", CONF_TYPE_TIME, CONF(timeouts.header_ms), "15s",
     .min = 1, .max = TIME_MAX,
     .help = "from the first byte of a request head to its last, then 408"},
    {"timeouts", "keep_alive", CONF_TYPE_TIME, CONF(timeouts.keep_alive_ms), "60s",
     .min = 1, .max = TIME_MAX,
     .help = "an idle client connection between requests"},
    {"timeouts", "dns", CONF_TYPE_TIME, CONF(timeouts.dns_ms), "5s",
     .min = 1, .max = TIME_MAX,
     .help = "one resolution, whole, then 504"},
    {"timeouts", "connect", CONF_TYPE_TIME, CONF(timeouts.connect_ms), "10s",
     .min = 1, .max = TIME_MAX,
     .help = "all connection attempts of one request, then 504"},
    {"timeouts", "response", CONF_TYPE_TIME, CONF(timeouts.response_ms), "60s",
     .min = 1, .max = TIME_MAX,
     .help = "from the last request byte sent to the final response head, then 504"},
    {"timeouts", "idle", CONF_TYPE_TIME, CONF(timeouts.idle_ms), "120s",
     .min = 1, .max = TIME_MAX,
     .help = "no byte moved either way inside an exchange, or in a tunnel that one side has ended"},
    {"timeouts", "tunnel_idle", CONF_TYPE_TIME, CONF(timeouts.tunnel_idle_ms), "1h",
     .min = 1, .max = TIME_MAX,
     .help = "no byte moved either way in a tunnel"},
    {"timeouts", "exchange", CONF_TYPE_TIME, CONF(timeouts.exchange_ms), "0",
     .min = 1, .max = TIME_MAX, .zero_is_off = true,
     .help = "a whole exchange; 0 is no limit"},
    {"timeouts", "tunnel", CONF_TYPE_TIME, CONF(timeouts.tunnel_ms), "0",
     .min = 1, .max = TIME_MAX, .zero_is_off = true,
     .help = "a whole tunnel; 0 is no limit"},

    {"limits", "head_bytes", CONF_TYPE_SIZE, CONF(limits.head_bytes), "64K",
     .min = 1 * K, .max = 1 * M,
     .help = "request or response head; beyond it 431, or 502 for a response"},
    {"limits", "target_bytes", CONF_TYPE_SIZE, CONF(limits.target_bytes), "16K",
     .min = 256, .max = 1 * M,
     .help = "request target; beyond it 414"},
    {"limits", "fields", CONF_TYPE_COUNT, CONF(limits.fields), "200",
     .min = 1, .max = 10000,
     .help = "header fields of one message; beyond it 431, or 502 for a response"},
    {"limits", "body_bytes", CONF_TYPE_SIZE, CONF(limits.body_bytes), "0",
     .min = 1, .max = INT64_MAX, .zero_is_off = true,
     .help = "request body; beyond it 413; 0 is no limit"},
    {"limits", "buffers", CONF_TYPE_SIZE, CONF(limits.buffers_bytes), "auto",
     .min = 1 * M, .max = 1024 * G, .may_be_auto = true,
     .help = "buffer memory of all workers; auto is an eighth of what the process may use"},

    {"dns", "servers", CONF_TYPE_SERVERS, CONF(dns.servers), "",
     .none = "",
     .help = "IP[:PORT], a list; empty follows /etc/resolv.conf as it changes"},
    {"dns", "hosts", CONF_TYPE_PATH, CONF(dns.hosts_path), "/etc/hosts",
     .help = "hosts file, read again when it changes"},
    {"dns", "cache_entries", CONF_TYPE_COUNT, CONF(dns.cache_entries), "10000",
     .min = 1, .max = COUNT_MAX, .zero_is_off = true,
     .help = "names kept, per worker; 0 turns the cache off"},
    {"dns", "max_ttl", CONF_TYPE_TIME, CONF(dns.max_ttl_ms), "1h",
     .max = TIME_MAX,
     .help = "an answer is kept for its own TTL, and for no longer than this"},
    {"dns", "negative_ttl", CONF_TYPE_TIME, CONF(dns.negative_ttl_ms), "5s",
     .max = TIME_MAX,
     .help = "how long a failure is kept"},
    {"dns", "family", CONF_TYPE_WORD, CONF(dns.family), "any",
     .words = family_words,
     .help = "any (races both, RFC 8305), ipv4, ipv6"},

    {"pool", "idle_per_host", CONF_TYPE_COUNT, CONF(pool.idle_per_host), "32",
     .max = COUNT_MAX,
     .help = "idle upstream connections kept for one host, per worker"},
    {"pool", "idle_total", CONF_TYPE_COUNT, CONF(pool.idle_total), "1024",
     .max = COUNT_MAX,
     .help = "idle upstream connections kept in all, per worker"},
    {"pool", "idle", CONF_TYPE_TIME, CONF(pool.idle_ms), "30s",
     .min = 1, .max = TIME_MAX,
     .help = "how long; an origin's Keep-Alive: timeout=N shortens it"},

    {"log", "access", CONF_TYPE_WORD, CONF(log.access), "logfmt",
     .words = access_words,
     .help = "one line per request: logfmt, json, combined, common, squid, off"},
    {"log", "tunnels", CONF_TYPE_WORD, CONF(log.tunnels), "end",
     .words = tunnels_words,
     .help = "end: a line when a tunnel ends; both: when it opens, too"},
    {"log", "level", CONF_TYPE_WORD, CONF(log.level), "info",
     .words = level_words,
     .help = "error, warning, notice, info, debug"},
    {"log", "destination", CONF_TYPE_PATH, CONF(log.path), "stdout",
     .none = "stdout", .reload = CONF_RESTART,
     .help = "stdout, or a file's path; USR1 opens the file again"},
    {"log", "buffer", CONF_TYPE_SIZE, CONF(log.buffer_bytes), "4M",
     .min = 64 * K, .max = 1 * G, .reload = CONF_RESTART,
     .help = "lines waiting for a slow reader; what does not fit is dropped and counted"},

    {"auth", "users", CONF_TYPE_PATH, CONF(auth.users_path), "",
     .none = "",
     .help = "htpasswd file (bcrypt, yescrypt, SHA-crypt), read again when it changes"},
    {"auth", "realm", CONF_TYPE_TEXT, CONF(auth.realm), "viaduct",
     .help = "what a client is shown when it is asked for its name and password"},
    {"auth", "cache", CONF_TYPE_TIME, CONF(auth.cache_ms), "5m",
     .min = 1, .max = TIME_MAX, .zero_is_off = true,
     .help = "how long a verified password is remembered; 0 is off"},
    {"auth", "failures", CONF_TYPE_RATE, CONF(auth.failures), "10/m",
     .min = 1, .max = COUNT_MAX,
     .help = "wrong passwords per client address, then 429"},

    {"admin", "address", CONF_TYPE_BIND, CONF(admin.address), "auto",
     .help = "unix:/PATH, IP:PORT or off; auto: unix:$RUNTIME_DIRECTORY/admin.sock, else off"},
    {"admin", "mode", CONF_TYPE_MODE, CONF(admin.mode), "0660",
     .help = "permissions of its unix socket"},
    {"admin", "group", CONF_TYPE_ACCOUNT, CONF(admin.group), "",
     .none = "",
     .help = "group of its unix socket"},
    {"admin", "allow", CONF_TYPE_ADDRS, CONF(admin.allow), "loopback",
     .help = "who may ask over TCP: IP, CIDR, loopback, link-local, private or any; a list"},
    {"admin", "write", CONF_TYPE_BOOL, CONF(admin.write), "off",
     .help = "on: they may change things, and see what clients ask for"},
};
/* clang-format on */
const size_t conf_key_count = ARRAY_LEN(conf_keys);

const struct conf_section_kind *conf_section_kind_find(struct str word)
{
    for (size_t i = 0; i < conf_section_kind_count; i++) {
        if (str_eq(str_of(conf_section_kinds[i].word), word)) {
            return &conf_section_kinds[i];
        }
    }
    return NULL;
}

const struct conf_key *conf_key_find(const char *section, struct str name)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        if (strcmp(conf_keys[i].section, section) == 0 && str_eq(str_of(conf_keys[i].name), name)) {
            return &conf_keys[i];
        }
    }
    return NULL;
}

size_t conf_key_index(const struct conf_key *key)
{
    return (size_t)(key - conf_keys);
}

#define SUGGEST_MAX 32 /* longer words are not compared */

/* Insertions, deletions and replacements between two words (Levenshtein); case counts for nothing
 * and neither does '-' for '_'. */
static unsigned distance(struct str a, struct str b)
{
    unsigned row[SUGGEST_MAX + 1];

    for (unsigned j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (unsigned i = 0; i < a.len; i++) {
        unsigned diagonal = row[0];
        char c = a.ptr[i] == '-' ? '_' : str_lower(a.ptr[i]);

        row[0] = i + 1;
        for (unsigned j = 0; j < b.len; j++) {
            unsigned replaced = diagonal + (c == b.ptr[j] ? 0 : 1);
            unsigned shifted = MIN(row[j], row[j + 1]) + 1;

            diagonal = row[j + 1];
            row[j + 1] = MIN(replaced, shifted);
        }
    }
    return row[b.len];
}

/* Keeps candidate when it is the nearest so far; a third of a word's letters may be wrong. */
static void consider(struct str word, const char *candidate, unsigned *best, const char **ret)
{
    struct str known = str_of(candidate);
    unsigned d;

    if (word.len == 0 || word.len > SUGGEST_MAX || known.len > SUGGEST_MAX) {
        return;
    }
    d = distance(word, known);
    if (d <= MAX(known.len / 3, 1) && d < *best) {
        *best = d;
        *ret = candidate;
    }
}

const char *conf_section_suggest(struct str word)
{
    const char *found = NULL;
    unsigned best = SUGGEST_MAX;

    for (size_t i = 0; i < conf_section_kind_count; i++) {
        if (!conf_section_kinds[i].is_later) {
            consider(word, conf_section_kinds[i].word, &best, &found);
        }
    }
    return found;
}

const char *conf_key_suggest(const char *section, struct str name)
{
    const char *found = NULL;
    unsigned best = SUGGEST_MAX;

    for (size_t i = 0; i < conf_key_count; i++) {
        if (strcmp(conf_keys[i].section, section) == 0) {
            consider(name, conf_keys[i].name, &best, &found);
        }
    }
    return found;
}

const char *conf_key_other_section(struct str name)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        if (str_eq(str_of(conf_keys[i].name), name)) {
            return conf_keys[i].section;
        }
    }
    return NULL;
}
