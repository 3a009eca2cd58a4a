// SPDX-License-Identifier: MIT
#pragma once

/*
 * The configuration: typed, complete (every key has a value), immutable once
 * loaded and checked. Loading never stops at the first error: all are
 * collected with file and line.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

#define CONF_AUTO                                                                                  \
    UINT64_MAX /* of a number whose value is "auto"; conf_load leaves no other mark                \
                */

enum conf_explain { CONF_EXPLAIN_RULE, CONF_EXPLAIN_CLASS, CONF_EXPLAIN_NONE };
enum conf_family { CONF_FAMILY_ANY, CONF_FAMILY_IP4, CONF_FAMILY_IP6 };
enum conf_forwarded { CONF_FORWARDED_OFF, CONF_FORWARDED_RFC7239, CONF_FORWARDED_XFF };
enum conf_tunnel_log { CONF_TUNNELS_END, CONF_TUNNELS_BOTH };

#define CONF_OPTION_FILE "-o" /* the "file" of what an option set */

/* Where something was written, for messages: FILE:LINE, "-o N", or "built-in". */
struct conf_origin {
    const char *file; /* borrowed from the conf; NULL: built-in default; CONF_OPTION_FILE */
    unsigned line;    /* line in the file, or the number of the -o; 0: the file as a whole */
};

struct conf_message {
    struct conf_origin origin; /* its file is part of text's allocation: it outlives the conf */
    bool is_warning;
    char *text;    /* owned */
    size_t number; /* counts all of them, as they were found */
    size_t file;   /* number of the first one of its file */
};

/* Errors and warnings of one load, in the order they were found until conf_messages_sort. Of each
 * kind the first 1000 are kept, and one that says so. */
struct conf_messages {
    struct conf_message *items; /* owned */
    size_t count;
    size_t error_count, warning_count; /* of all that were found */
    /* Set by whoever wants to know, while all else is zero: told of each file before it is read, on
     * the thread that reads. NULL: nobody wants to. */
    void (*reading)(void *arg, const char *path);
    void *arg;
};

enum conf_bind_kind {
    CONF_BIND_IP,
    CONF_BIND_ANY,
    CONF_BIND_UNIX,
    CONF_BIND_SYSTEMD,
    CONF_BIND_OFF,  /* admin.address alone */
    CONF_BIND_AUTO, /* admin.address alone: as the service manager gives a directory */
};

/* One address to listen on. */
struct conf_bind {
    enum conf_bind_kind kind;
    struct addr addr; /* CONF_BIND_IP; CONF_BIND_ANY: the port alone counts */
    const char *path; /* CONF_BIND_UNIX: absolute */
    bool is_default; /* stands in the built-in listener: may be left out where the family is missing
                      */
    struct conf_origin origin;
};

struct conf_listener {
    const char *name;
    struct conf_bind *binds; /* owned */
    size_t bind_count;
    mode_t mode;       /* of a unix socket */
    const char *group; /* NULL: none */
    gid_t gid;         /* of group, as the load found it; (gid_t)-1: none, or nobody could tell */
    enum conf_forwarded forwarded;
    struct conf_origin origin;
};

enum conf_addr_class {
    CONF_ADDR_NET,
    CONF_ADDR_ANY,
    CONF_ADDR_LOOPBACK,
    CONF_ADDR_LINK_LOCAL,
    CONF_ADDR_PRIVATE,
};

/* A network or a class of addresses. */
struct conf_addr {
    enum conf_addr_class class;
    struct addr_net net; /* CONF_ADDR_NET */
};

/* So many in so long a time. */
struct conf_rate {
    uint64_t count, per_ms;
};

/* A line of a rule table, as it is written: policy/ knows what it means. */
struct conf_rule {
    const char *table; /* "access" */
    const char *name;  /* unique in its table */
    const char *text;
    const char *dir; /* relative paths in it count from here */
    struct conf_origin origin;
};

struct conf {
    struct {
        uint64_t workers; /* CONF_AUTO or 1..1024 */
        const char *user; /* NULL: none */
        uint64_t grace_ms, drain_delay_ms;
        const char *name;
        bool via;
        enum conf_explain explain;
        uint64_t max_connections;            /* CONF_AUTO or a count */
        uint64_t max_connections_per_client; /* 0: no limit */
        uint64_t tcp_keepalive_ms;           /* whole seconds; 0: off */
    } server;
    struct conf_listener *listeners; /* owned */
    size_t listener_count;
    struct {
        uint64_t header_ms, keep_alive_ms, dns_ms, connect_ms, response_ms, idle_ms, tunnel_idle_ms,
            exchange_ms, tunnel_ms;
    } timeouts;
    struct {
        uint64_t head_bytes, target_bytes, fields, body_bytes;
        uint64_t buffers_bytes; /* CONF_AUTO or bytes */
    } limits;
    struct {
        struct addr *servers; /* owned; count 0: resolv.conf */
        size_t server_count;
        const char *hosts_path;
        uint64_t cache_entries, max_ttl_ms, negative_ttl_ms;
        enum conf_family family;
    } dns;
    struct {
        uint64_t idle_per_host, idle_total, idle_ms;
    } pool;
    struct {
        unsigned access; /* enum log_format */
        enum conf_tunnel_log tunnels;
        unsigned level;   /* enum log_level */
        const char *path; /* NULL: stdout */
        uint64_t buffer_bytes;
    } log;
    struct {
        const char *users_path; /* NULL: none */
        const char *realm;
        uint64_t cache_ms; /* 0: off */
        struct conf_rate failures;
    } auth;
    struct {
        struct conf_bind address; /* CONF_BIND_IP, _UNIX, _OFF or _AUTO */
        mode_t mode;              /* of a unix socket */
        const char *group;        /* NULL: none */
        gid_t gid;                /* as that of a listener */
        struct conf_addr *allow;  /* owned */
        size_t allow_count;
        bool write;
    } admin;
    struct conf_rule *rules; /* owned; each table's lines in their order */
    size_t rule_count;
    const char *source;       /* the file it came from, or NULL: built-in defaults */
    struct conf_state *state; /* owned: strings, where each value came from; private to conf/ */
};

struct conf_load_options {
    const char *path; /* NULL: CONF_DEFAULT_PATH if there is such a file, else built-in */
    const char *const *overrides; /* -o SECTION.KEY=VALUE, in order */
    size_t override_count;
};

#define CONF_DEFAULT_PATH "/etc/viaduct/viaduct.ini"

/* Loads, checks and completes; whatever is wrong goes to messages, and a value that was refused
 * leaves its default behind, so that others can go on and find what else is wrong. 0 with *ret
 * owned by the caller, to be served from only if messages->error_count is 0; -ENOMEM. A file that
 * cannot be read is an error in messages. messages must be zeroed; free with conf_messages_deinit.
 */
MUST_USE int conf_read(const struct conf_load_options *options, struct conf **ret,
                       struct conf_messages *messages);
/* The same for who needs no rules: 1 when the configuration is wrong (*ret_conf untouched). 0 with
 * *ret_conf owned by the caller (warnings may stand in *messages); -ENOMEM. */
MUST_USE int conf_load(const struct conf_load_options *options, struct conf **ret_conf,
                       struct conf_messages *messages);
/* A further reference to an immutable one; conf_free gives it back, and frees with the last. */
struct conf *conf_share(struct conf *conf);
void conf_free(struct conf *conf);
/* The listener of that name, or NULL. */
const struct conf_listener *conf_listener_find(const struct conf *conf, const char *name);
/* One of these is or holds addr. */
bool conf_addrs_have(const struct conf_addr *addrs, size_t count, const struct addr *addr);
/* Where section.key of a section without a name of its own was set. */
struct conf_origin conf_origin_of(const struct conf *conf, const char *section, const char *key);
void conf_messages_deinit(struct conf_messages *messages);
/* That file is read next. */
void conf_messages_reading(const struct conf_messages *messages, const char *path);
/* Adds one message (for rooms that read rule lines). */
void conf_messages_add(struct conf_messages *messages, bool is_warning, struct conf_origin origin,
                       const char *fmt, ...) PRINTF_LIKE(4, 5);
/* As a person reads them, however they were found: file by file, in the order in which the first
 * message of each came, and by line; what is said of a file as a whole stands behind its lines. */
void conf_messages_sort(struct conf_messages *messages);
/* A time as it is written in the file, with the largest unit that fits. */
void conf_time_put(uint64_t value_ms, struct text *out);
#define CONF_ORIGIN_TEXT_MAX 4200 /* bytes: the longest path, a line, NUL */
/* FILE:LINE, FILE, "-o N" or "built-in". */
void conf_origin_put(struct text *out, struct conf_origin origin);
#define CONF_MESSAGE_LINE_MAX (2 * CONF_ORIGIN_TEXT_MAX + 2048) /* of conf_message_format */
/* "FILE:LINE: text" as check prints it; buf is NUL-terminated and cut if it must be. */
void conf_message_format(const struct conf_message *message, char *buf, size_t cap);

struct conf_dump_options {
    bool show_secrets;
    /* Appends to a stream of the caller's. */
    void (*put)(void *arg, struct str text);
    /* A rule's text with its paths made absolute (rule_put); NULL: as it is written. */
    void (*put_rule)(const struct conf_rule *rule, void (*put)(void *arg, struct str text),
                     void *arg);
    void *arg;
};

/* Every key with its effective value and every rule as an INI file that can be fed back, each with
 * a comment where it came from. */
void conf_dump(const struct conf *conf, const struct conf_dump_options *options);

/* Name and version of the library that reads the file. */
const char *conf_library_version(void);
