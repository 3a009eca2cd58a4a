// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "conf/conf.h"
#include "log/log.h"
#include "log/record.h"

/* Each test has a process and a directory of its own, and stands in that directory. */
static char dir[] = "/tmp/test_conf.XXXXXX";
static struct conf *conf;
static struct conf_messages messages;
static char said_buf[65536];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void teardown(void)
{
    char command[64];

    conf_free(conf);
    conf_messages_deinit(&messages);
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(conf, .init = setup, .fini = teardown);

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    cr_assert_not_null(file, "%s", name);
    (void)fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static int load_path(const char *path, const char *const *overrides, size_t count)
{
    const struct conf_load_options options = {path, overrides, count};

    conf_free(conf);
    conf = NULL;
    conf_messages_deinit(&messages);
    return conf_load(&options, &conf, &messages);
}

/* Everything that was said, a line each. */
static const char *said(void)
{
    struct text out = TEXT_OVER(said_buf);

    for (size_t i = 0; i < messages.count; i++) {
        char line[2048];

        conf_message_format(&messages.items[i], line, sizeof(line));
        text_puts(&out, line);
        text_char(&out, '\n');
    }
    cr_assert(!out.full);
    return text_cstr(&out);
}

static int load(const char *ini)
{
    write_file("v.ini", ini);
    return load_path("v.ini", NULL, 0);
}

#define LOAD_WITH(ini, ...)                                                                        \
    (write_file("v.ini", ini), load_path("v.ini", (const char *const[]){__VA_ARGS__},              \
                                         ARRAY_LEN(((const char *const[]){__VA_ARGS__}))))
#define EXPECT_SAID(want) cr_assert_str_eq(said(), want)
#define EXPECT_WRONG(ini, want)                                                                    \
    do {                                                                                           \
        cr_assert_eq(load(ini), 1, "%s", ini);                                                     \
        EXPECT_SAID(want);                                                                         \
    } while (0)
#define EXPECT_RIGHT(ini, want)                                                                    \
    do {                                                                                           \
        cr_assert_eq(load(ini), 0, "%s", said());                                                  \
        EXPECT_SAID(want);                                                                         \
    } while (0)

static void put_dump(void *arg, struct str text)
{
    text_put(arg, text);
}

static const char *dumped(void)
{
    static char buf[65536];
    struct text out = TEXT_OVER(buf);
    const struct conf_dump_options options = {.put = put_dump, .arg = &out};

    conf_dump(conf, &options);
    cr_assert(!out.full);
    return text_cstr(&out);
}

/* ---- Defaults ---- */

Test(conf, has_a_value_for_everything_without_a_file)
{
    EXPECT_RIGHT("", "");
    cr_assert_eq(conf->server.workers, CONF_AUTO);
    cr_assert_null(conf->server.user);
    cr_assert_eq(conf->server.grace_ms, 30000);
    cr_assert_eq(conf->server.drain_delay_ms, 0);
    cr_assert_str_eq(conf->server.name, "viaduct");
    cr_assert(conf->server.via);
    cr_assert_eq(conf->server.explain, CONF_EXPLAIN_RULE);
    cr_assert_eq(conf->server.max_connections, CONF_AUTO);
    cr_assert_eq(conf->server.max_connections_per_client, 0);
    cr_assert_eq(conf->server.tcp_keepalive_ms, 60000);
    cr_assert_eq(conf->timeouts.header_ms, 15000);
    cr_assert_eq(conf->timeouts.keep_alive_ms, 60000);
    cr_assert_eq(conf->timeouts.dns_ms, 5000);
    cr_assert_eq(conf->timeouts.connect_ms, 10000);
    cr_assert_eq(conf->timeouts.response_ms, 60000);
    cr_assert_eq(conf->timeouts.idle_ms, 120000);
    cr_assert_eq(conf->timeouts.tunnel_idle_ms, 3600000);
    cr_assert_eq(conf->timeouts.exchange_ms, 0);
    cr_assert_eq(conf->timeouts.tunnel_ms, 0);
    cr_assert_eq(conf->limits.head_bytes, 65536);
    cr_assert_eq(conf->limits.target_bytes, 16384);
    cr_assert_eq(conf->limits.fields, 200);
    cr_assert_eq(conf->limits.body_bytes, 0);
    cr_assert_eq(conf->limits.buffers_bytes, CONF_AUTO);
    cr_assert_eq(conf->dns.server_count, 0);
    cr_assert_str_eq(conf->dns.hosts_path, "/etc/hosts");
    cr_assert_eq(conf->dns.cache_entries, 10000);
    cr_assert_eq(conf->dns.max_ttl_ms, 3600000);
    cr_assert_eq(conf->dns.negative_ttl_ms, 5000);
    cr_assert_eq(conf->dns.family, CONF_FAMILY_ANY);
    cr_assert_eq(conf->pool.idle_per_host, 32);
    cr_assert_eq(conf->pool.idle_total, 1024);
    cr_assert_eq(conf->pool.idle_ms, 30000);
    cr_assert_eq(conf->log.access, LOG_FORMAT_LOGFMT);
    cr_assert_eq(conf->log.tunnels, CONF_TUNNELS_END);
    cr_assert_eq(conf->log.level, LOG_INFO);
    cr_assert_null(conf->log.path);
    cr_assert_eq(conf->log.buffer_bytes, 4194304);
}

Test(conf, has_a_built_in_listener_without_a_section)
{
    const struct conf_listener *local;

    EXPECT_RIGHT("[server]\nworkers=1\n", "");
    cr_assert_eq(conf->listener_count, 1);
    local = &conf->listeners[0];
    cr_assert_str_eq(local->name, "local");
    cr_assert_eq(local->bind_count, 2);
    cr_assert(local->binds[0].is_default && local->binds[1].is_default);
    cr_assert_eq(local->binds[1].addr.kind, ADDR_IP6);
    cr_assert_eq(local->binds[1].addr.port, 8080);
    cr_assert_eq(local->mode, 0660);
    cr_assert_null(local->group);
    cr_assert_eq(local->forwarded, CONF_FORWARDED_OFF);
}

Test(conf, has_no_built_in_listener_beside_another)
{
    EXPECT_RIGHT("[listen lan]\naddress = *:1\n[listen two]\naddress=*:2\n", "");
    cr_assert_eq(conf->listener_count, 2);
    cr_assert_str_eq(conf->listeners[0].name, "lan");
    cr_assert(!conf->listeners[0].binds[0].is_default);
    cr_assert_str_eq(conf->listeners[0].binds[0].origin.file, "v.ini");
    cr_assert_eq(conf->listeners[0].binds[0].origin.line, 2);
    cr_assert_str_eq(conf->listeners[1].name, "two");
}

Test(conf, wants_an_address_of_a_listener)
{
    EXPECT_WRONG("[listen lan]\nmode = 0600\n[listen local]\n",
                 "v.ini:1: [listen lan]: address is missing\n"
                 "v.ini:3: [listen local]: address is missing\n");
}

/* ---- Sections and keys ---- */

Test(conf, adds_up_a_section_that_stands_in_several_places)
{
    EXPECT_RIGHT("[server]\nworkers=3\n[listen a]\naddress=*:1\n[server]\ngrace=1s\n"
                 "[listen  a]\naddress=*:2\n",
                 "");
    cr_assert_eq(conf->server.workers, 3);
    cr_assert_eq(conf->server.grace_ms, 1000);
    cr_assert_eq(conf->listener_count, 1);
    cr_assert_eq(conf->listeners[0].bind_count, 2);
}

Test(conf, reports_unknown_sections_once_and_suggests)
{
    EXPECT_WRONG("[serve]\nworkers=1\nuser=x\n[cache]\n[acces]\na = allow\n",
                 "v.ini:1: [serve]: unknown section; did you mean [server]?\n"
                 "v.ini:4: [cache]: unknown section\n"
                 "v.ini:5: [acces]: unknown section; did you mean [access]?\n");
}

Test(conf, tells_what_a_later_version_will_have)
{
    EXPECT_WRONG("[route]\na = direct\n[limit]\n[parent hq]\nurl = x\n[limits]\n",
                 "v.ini:1: [route]: not supported by this version\n"
                 "v.ini:3: [limit]: not supported by this version\n"
                 "v.ini:4: [parent]: not supported by this version\n");
    cr_assert_eq(LOAD_WITH("", "route.a=direct"), 1);
    EXPECT_SAID("-o 1: [route]: not supported by this version\n");
}

/* The rules as they will be walked: table.name = text, file:line. */
static const char *rules(void)
{
    static char buf[4096];
    struct text out = TEXT_OVER(buf);

    for (size_t i = 0; i < conf->rule_count; i++) {
        const struct conf_rule *rule = &conf->rules[i];

        text_printf(&out, "%s.%s = %s, ", rule->table, rule->name, rule->text);
        conf_origin_put(&out, rule->origin);
        text_char(&out, '\n');
    }
    return text_cstr(&out);
}

Test(conf, has_a_rule_for_this_machine_without_a_section)
{
    EXPECT_RIGHT("", "");
    cr_assert_str_eq(rules(), "access.local = allow from loopback,unix to any, built-in\n");
    EXPECT_RIGHT("[access]\n", "");
    cr_assert_str_eq(rules(), "");
}

Test(conf, keeps_rules_in_their_order_across_sections_and_files)
{
    cr_assert_eq(mkdir("sub", 0700), 0);
    write_file("sub/a.ini", "[access]\nfirst = deny hosts a.txt ; why\n");
    EXPECT_RIGHT("include = sub/a.ini\n[access]\nb =\tallow  to any\n[log]\n[access]\n"
                 "B = allow ; other\n",
                 "");
    cr_assert_str_eq(rules(), "access.first = deny hosts a.txt, sub/a.ini:2\n"
                              "access.b = allow  to any, v.ini:3\naccess.B = allow, v.ini:6\n");
    cr_assert(strstr(conf->rules[0].dir, dir) && str_ends(str_of(conf->rules[0].dir), STR("/sub")));
    cr_assert(str_ends(str_of(conf->rules[1].dir), str_of(dir)));
}

Test(conf, reports_a_rule_name_that_stands_twice_with_both_places)
{
    EXPECT_WRONG("[access]\na = allow\na = deny\n[access]\na = deny\n",
                 "v.ini:3: access.a: there is a rule of this name already, at v.ini:2\n"
                 "v.ini:5: access.a: there is a rule of this name already, at v.ini:2\n");
    EXPECT_WRONG("[access]\ninclude = x.ini\n",
                 "v.ini:2: include stands at the top, before the first [section]\n");
}

Test(conf, lets_an_option_replace_a_rule_or_add_one_at_the_end)
{
    cr_assert_eq(LOAD_WITH("[access]\na = allow\nb = deny\n", "access.c=allow to any",
                           "access.a = deny from 10.0.0.1 ", "access.c=deny"),
                 0, "%s", said());
    cr_assert_str_eq(rules(), "access.a = deny from 10.0.0.1, -o 2\naccess.b = deny, v.ini:3\n"
                              "access.c = deny, -o 3\n");
    cr_assert_eq(LOAD_WITH("", "access.only=allow"), 0);
    cr_assert_str_eq(rules(), "access.only = allow, -o 1\n");
    cr_assert_eq(LOAD_WITH("", "access.a b=deny", "access.=deny", "access.a=deny\x01"), 1);
    EXPECT_SAID("-o 1: access: the name has too many words\n"
                "-o 2: access: a name is missing\n"
                "-o 3: the value could not stand in a file: a control character or ' ;'\n");
}

Test(conf, bounds_the_length_of_a_rule)
{
    size_t len = (1U << 20) + 64;
    char *text = malloc(len);

    cr_assert_not_null(text);
    memset(text, 'a', len);
    memcpy(text, "[access]\nx = deny host ", 23);
    memcpy(text + len - 14, "\ny = deny port", 14);
    text[len - 1] = '\0';
    EXPECT_WRONG(text, "v.ini:2: the line is longer than 64K\n");
    memcpy(text, "access.x=deny host     ", 23);
    text[(64U << 10) + 10] = '\0';
    cr_assert_eq(LOAD_WITH("", text), 1);
    EXPECT_SAID("-o 1: the value is longer than 64K\n");
    free(text);
}

Test(conf, takes_many_rules)
{
    char *text = malloc(1U << 20);
    struct text ini = text_over(text, 1U << 20);

    cr_assert_not_null(text);
    text_puts(&ini, "[access]\n");
    for (unsigned i = 0; i < 20000; i++) {
        text_printf(&ini, "r%u = deny port %u\n", i, i + 1);
    }
    cr_assert(!ini.full);
    EXPECT_RIGHT(text_cstr(&ini), "");
    cr_assert_eq(conf->rule_count, 20000);
    cr_assert_str_eq(conf->rules[19999].name, "r19999");
    cr_assert_eq(conf->rules[19999].origin.line, 20001);
    free(text);
}

Test(conf, reads_what_is_said_of_credentials)
{
    EXPECT_RIGHT("", "");
    cr_assert_null(conf->auth.users_path);
    cr_assert_str_eq(conf->auth.realm, "viaduct");
    cr_assert_eq(conf->auth.cache_ms, 300000);
    cr_assert(conf->auth.failures.count == 10 && conf->auth.failures.per_ms == 60000);
    EXPECT_RIGHT("[auth]\nusers = u\nrealm = The \"realm\" ~\ncache = 0\nfailures = 3/h\n", "");
    cr_assert(str_ends(str_of(conf->auth.users_path), STR("/u")));
    cr_assert_str_eq(conf->auth.realm, "The \"realm\" ~");
    cr_assert_eq(conf->auth.cache_ms, 0);
    cr_assert(conf->auth.failures.count == 3 && conf->auth.failures.per_ms == 3600000);
    EXPECT_WRONG("[auth]\nrealm = \xc3\xa9\nfailures = 10\n",
                 "v.ini:2: auth.realm = \xc3\xa9: expected printable ASCII, at most 200 bytes\n"
                 "v.ini:3: auth.failures = 10: expected a number from 1 to 10000000 and /s, /m, /h "
                 "or /d\n");
    cr_assert_eq(load("[auth]\nfailures = 0/m\n"), 1);
    cr_assert_eq(load("[auth]\nfailures = 10/ms\n"), 1);
    cr_assert_eq(load("[auth]\nfailures = /m\n"), 1);
    cr_assert_eq(load("[auth]\nfailures = 10/\n"), 1);
}

Test(conf, reports_sections_with_a_name_too_much_or_too_few)
{
    EXPECT_WRONG("[server a]\n[listen]\n", "v.ini:1: [server a]: [server] has no name of its own\n"
                                           "v.ini:2: [listen]: a name is missing, as in "
                                           "[listen lan]\n");
}

Test(conf, reports_unknown_keys_and_suggests)
{
    EXPECT_WRONG("[server]\nworker=1\ntunnel_idle=1h\ncolour=blue\ninclude=x\n"
                 "[listen a]\nadress=*:1\naddress=*:1\n",
                 "v.ini:2: server.worker: unknown key; did you mean workers?\n"
                 "v.ini:3: server.tunnel_idle: unknown key; [timeouts] has it\n"
                 "v.ini:4: server.colour: unknown key\n"
                 "v.ini:5: include stands at the top, before the first [section]\n"
                 "v.ini:7: listen a.adress: unknown key; did you mean address?\n");
}

Test(conf, reports_a_key_before_the_first_section)
{
    EXPECT_WRONG("workers=1\n", "v.ini:1: workers stands before the first [section]\n");
}

Test(conf, reports_a_scalar_set_twice_with_both_places)
{
    EXPECT_WRONG("[server]\nworkers=1\n[dns]\n[server]\nworkers=1\n",
                 "v.ini:5: server.workers is set twice, first at v.ini:2\n");
}

Test(conf, adds_up_a_list_that_stands_twice)
{
    EXPECT_RIGHT("[dns]\nservers=1.1.1.1,2.2.2.2\nservers = 3.3.3.3\n", "");
    cr_assert_eq(conf->dns.server_count, 3);
}

Test(conf, reports_all_errors_at_once_in_their_order)
{
    EXPECT_WRONG("[server]\nworkers=x\nnonsense\n[timeouts]\nheader=15\n[server]\nvia=maybe\n",
                 "v.ini:2: server.workers = x: expected a number from 1 to 1024, or auto\n"
                 "v.ini:3: neither [section] nor key = value\n"
                 "v.ini:5: timeouts.header = 15: a time needs a unit: ms, s, m, h or d\n"
                 "v.ini:7: server.via = maybe: expected on or off\n");
    cr_assert_eq(messages.error_count, 4);
    cr_assert_null(conf);
}

Test(conf, takes_long_lists)
{
    static char ini[70000];
    struct text text = TEXT_OVER(ini);

    text_puts(&text, "[listen many]\naddress = 127.0.0.1:1");
    for (unsigned i = 2; i <= 3000; i++) {
        text_printf(&text, ", 127.0.0.1:%u", i);
    }
    cr_assert(!text.full && text.len < 65536);
    EXPECT_RIGHT(text_cstr(&text), "");
    cr_assert_eq(conf->listeners[0].bind_count, 3000);
}

Test(conf, shortens_a_long_bad_value)
{
    char ini[400] = "[server]\nname=";
    char *at = ini + strlen(ini);

    memset(at, ',', 300);
    cr_assert_eq(load(ini), 1);
    at[80] = '\0';
    cr_assert(strstr(said(), at) && !strstr(said(), ",,,,,:") && strstr(said(), ",,,...: "));
}

/* ---- Files ---- */

Test(conf, reports_a_file_that_cannot_be_read)
{
    cr_assert_eq(load_path("none.ini", NULL, 0), 1);
    EXPECT_SAID("none.ini: cannot be read: No such file or directory\n");
    cr_assert_eq(load_path(".", NULL, 0), 1);
    EXPECT_SAID(".: cannot be read: Is a directory\n");
}

Test(conf, refuses_a_file_larger_than_16_megabytes)
{
    FILE *file = fopen("big.ini", "w");

    cr_assert_not_null(file);
    cr_assert_eq(ftruncate(fileno(file), (16 << 20) + 1), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(load_path("big.ini", NULL, 0), 1);
    EXPECT_SAID("big.ini: cannot be read: the file is larger than 16M\n");
}

Test(conf, refuses_a_file_whose_name_would_garble_messages)
{
    write_file("a\nb.ini", "");
    cr_assert_eq(load_path("a\nb.ini", NULL, 0), 1);
    EXPECT_SAID("a?b.ini: cannot be read: the file's name holds a control character\n");
}

Test(conf, refuses_an_include_of_a_name_too_long)
{
    static char ini[1100] = "include = ";
    char deep[300];

    memset(ini + 10, 'x', 300);
    cr_assert_eq(load(ini), 1);
    cr_assert(strstr(said(), "File name too long"));
    memset(deep, 'y', sizeof(deep));
    deep[sizeof(deep) - 1] = '\0';
    cr_assert_eq(load_path(deep, NULL, 0), 1);
    cr_assert(strstr(said(), "cannot be read: File name too long"));
}

Test(conf, stands_in_a_directory_that_was_removed)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%s/v.ini", dir);
    write_file(name, "[log]\ndestination = x.log\n");
    cr_assert_eq(mkdir("gone", 0700), 0);
    cr_assert_eq(chdir("gone"), 0);
    cr_assert_eq(rmdir("../gone"), 0);
    cr_assert_eq(load_path(name, NULL, 0), 0, "%s", said());
    cr_assert_eq(load_path("/dev/null", (const char *const[]){"log.destination=x.log"}, 1), 0);
    cr_assert_str_eq(conf->log.path, "./x.log");
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(load_path("/dev/null", (const char *const[]){"log.destination=x.log"}, 1), 0);
    cr_assert_str_eq(conf->log.path, "/x.log");
}

Test(conf, bounds_the_number_of_servers)
{
    char ini[2048] = "[dns]\n";
    size_t len = strlen(ini);

    for (int i = 1; i <= 33; i++) {
        len += (size_t)snprintf(ini + len, sizeof(ini) - len, "servers = 192.0.2.%d\n", i);
    }
    cr_assert_eq(load(ini), 1);
    cr_assert(strstr(said(), "more than 32 servers"));
}

#ifdef MEM_FAULTS
Test(conf, never_forgets_that_there_was_an_error)
{
    write_file("v.ini", "[nonsense]\n[log]\nlevel = loud\ndestination = x.log\n");
    for (uint64_t n = 1;; n++) {
        uint64_t failed;
        int r;

        mem_fail(n, n);
        r = load_path("v.ini", NULL, 0);
        failed = mem_failed();
        mem_fail(0, 0);
        cr_assert_neq(r, 0, "allocation %u", (unsigned)n);
        if (failed == 0) {
            break;
        }
    }
    cr_assert_eq(messages.count, 2);
}
#endif

Test(conf, remembers_its_source)
{
    EXPECT_RIGHT("", "");
    cr_assert_str_eq(conf->source, "v.ini");
}

Test(conf, counts_relative_paths_from_the_file)
{
    char want[64];

    cr_assert_eq(mkdir("sub", 0700), 0);
    write_file("sub/x.ini", "[log]\ndestination = a.log\n[listen u]\naddress = unix:u.sock\n");
    EXPECT_RIGHT("include = sub/x.ini\n[dns]\nservers=1.1.1.1\n", "");
    (void)snprintf(want, sizeof(want), "%s/sub/a.log", dir);
    cr_assert_str_eq(conf->log.path, want);
    (void)snprintf(want, sizeof(want), "%s/sub/u.sock", dir);
    cr_assert_str_eq(conf->listeners[0].binds[0].path, want);
}

Test(conf, includes_files_in_the_order_of_their_names)
{
    cr_assert_eq(mkdir("d", 0700), 0);
    write_file("d/20.ini", "[dns]\nservers=2.2.2.2\n");
    write_file("d/10.ini", "[dns]\nservers=1.1.1.1\n");
    write_file("d/30.txt", "nonsense\n");
    EXPECT_RIGHT("include = d/*.ini\n[dns]\nservers=3.3.3.3\n", "");
    cr_assert_eq(conf->dns.server_count, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(conf->dns.servers[i].bytes[0], i + 1);
    }
}

Test(conf, counts_an_include_from_the_file_that_holds_it)
{
    cr_assert_eq(mkdir("a[x]", 0700), 0);
    write_file("a[x]/one.ini", "include = t*.ini\ninclude = three.ini\n");
    write_file("a[x]/two.ini", "[server]\nworkers=2\n");
    write_file("a[x]/three.ini", "[server]\ngrace=3s\n");
    EXPECT_WRONG("include = a[x]/one.ini\n[dns]\nfamily=ipv7\n",
                 "v.ini:3: dns.family = ipv7: expected any, ipv4 or ipv6\n");
    cr_assert_eq(load_path("a[x]/one.ini", NULL, 0), 1, "t*.ini is three.ini, too");
    EXPECT_SAID("a[x]/three.ini:2: server.grace is set twice, first at a[x]/three.ini:2\n");
}

Test(conf, reports_an_error_where_it_stands)
{
    write_file("x.ini", "\n[server]\nworkers=0\n");
    EXPECT_WRONG("include=x.ini\n", "x.ini:3: server.workers = 0: "
                                    "expected a number from 1 to 1024, or auto\n");
}

Test(conf, reports_a_scalar_set_twice_across_files)
{
    write_file("x.ini", "[server]\nworkers=1\n");
    EXPECT_WRONG("include=x.ini\n[server]\nworkers=2\n",
                 "v.ini:3: server.workers is set twice, first at x.ini:2\n");
}

Test(conf, takes_a_pattern_that_matches_nothing_and_refuses_a_missing_file)
{
    EXPECT_RIGHT("include = *.none\ninclude = nodir/*.ini\n", "");
    EXPECT_WRONG("include = none.ini\ninclude =\n",
                 "v.ini:1: include none.ini: No such file or directory\n"
                 "v.ini:2: include: a file name is missing\n");
}

Test(conf, goes_on_after_an_include_at_the_top)
{
    write_file("x.ini", "[server]\n");
    EXPECT_WRONG("include = x.ini\nworkers = 1\n",
                 "v.ini:2: workers stands before the first [section]\n");
}

Test(conf, refuses_an_include_loop)
{
    write_file("x.ini", "include = ./v.ini\n");
    EXPECT_WRONG("include = x.ini\n", "x.ini:1: include ./v.ini: the file includes itself\n");
    EXPECT_WRONG("include = v.ini\n", "v.ini:1: include v.ini: the file includes itself\n");
}

Test(conf, refuses_includes_nested_too_deep)
{
    for (int i = 1; i <= 12; i++) {
        char name[16];
        char text[32];

        (void)snprintf(name, sizeof(name), "%d.ini", i);
        (void)snprintf(text, sizeof(text), "include = %d.ini\n", i + 1);
        write_file(name, text);
    }
    EXPECT_WRONG("include = 1.ini\n",
                 "10.ini:1: include 11.ini: includes are nested more than 10 deep\n");
    write_file("10.ini", "[server]\nworkers=1\n");
    EXPECT_RIGHT("include = 1.ini\n", "");
}

/* Each file includes the next one twice: 2^10 readings of the last. */
Test(conf, refuses_includes_that_fan_out_without_end)
{
    for (int i = 1; i <= 10; i++) {
        char name[16];
        char text[64] = "";

        (void)snprintf(name, sizeof(name), "%d.ini", i);
        if (i < 10) {
            (void)snprintf(text, sizeof(text), "include=%d.ini\ninclude=%d.ini\n", i + 1, i + 1);
        }
        write_file(name, text);
    }
    cr_assert_eq(load("include = 1.ini\ninclude = 1.ini\n"), 1);
    cr_assert(strstr(said(), "more than 1000 files are included"));
}

/* ---- Options ---- */

Test(conf, lets_an_option_replace_a_value)
{
    cr_assert_eq(LOAD_WITH("[server]\nworkers=1\n[dns]\nservers=1.1.1.1\nservers=2.2.2.2\n",
                           "server.workers=5", "dns.servers = 3.3.3.3", "server.workers=6"),
                 0, "%s", said());
    cr_assert_eq(conf->server.workers, 6);
    cr_assert_eq(conf->dns.server_count, 1);
    cr_assert_eq(conf->dns.servers[0].bytes[0], 3);
}

Test(conf, splits_an_option_at_the_last_dot_before_the_equal_sign)
{
    cr_assert_eq(LOAD_WITH("", "listen a.b.address=127.0.0.1:1", "listen a.b.forwarded=rfc7239"), 0,
                 "%s", said());
    cr_assert_eq(conf->listener_count, 1, "an option makes a listener too");
    cr_assert_str_eq(conf->listeners[0].name, "a.b");
    cr_assert_eq(conf->listeners[0].forwarded, CONF_FORWARDED_RFC7239);
}

Test(conf, lets_an_option_empty_a_value)
{
    cr_assert_eq(
        LOAD_WITH("[server]\nuser=root\n[dns]\nservers=1.1.1.1\n", "server.user=", "dns.servers="),
        0, "%s", said());
    cr_assert_null(conf->server.user);
    cr_assert_eq(conf->dns.server_count, 0);
}

Test(conf, names_options_in_errors)
{
    cr_assert_eq(LOAD_WITH("", "server.workers=0", "nonsense", "workers=1", "srver.workers=1",
                           "server.wrkers=1", "server.name=a ;b", "listen.address=*:1",
                           ".workers=1", "listen b.address=x"),
                 1);
    EXPECT_SAID("-o 1: server.workers = 0: expected a number from 1 to 1024, or auto\n"
                "-o 2: expected SECTION.KEY=VALUE\n"
                "-o 3: expected SECTION.KEY=VALUE\n"
                "-o 4: [srver]: unknown section; did you mean [server]?\n"
                "-o 5: server.wrkers: unknown key; did you mean workers?\n"
                "-o 6: the value could not stand in a file: a control character or ' ;'\n"
                "-o 7: [listen]: a name is missing, as in [listen lan]\n"
                "-o 8: expected SECTION.KEY=VALUE\n"
                "-o 9: listen b.address = x: "
                "expected IP:PORT, [IP6]:PORT, *:PORT, unix:/PATH or systemd\n");
}

Test(conf, still_reports_a_bad_value_that_an_option_replaces)
{
    cr_assert_eq(LOAD_WITH("[server]\nworkers=x\n", "server.workers=1"), 1);
    EXPECT_SAID("v.ini:2: server.workers = x: expected a number from 1 to 1024, or auto\n");
}

/* ---- Checks of the whole ---- */

Test(conf, refuses_an_address_that_stands_twice)
{
    EXPECT_WRONG("[listen a]\naddress=127.0.0.1:80, [::1]:80\n[listen b]\naddress=127.0.0.1:80\n",
                 "v.ini:4: listen b.address = 127.0.0.1:80: "
                 "taken by listen a.address = 127.0.0.1:80 at v.ini:2\n");
    EXPECT_WRONG("[listen a]\naddress=*:80\naddress=[::1]:80\n",
                 "v.ini:3: listen a.address = [::1]:80: "
                 "taken by listen a.address = *:80 at v.ini:2\n");
    EXPECT_WRONG("[listen a]\naddress=0.0.0.0:80\naddress=127.0.0.1:80\n",
                 "v.ini:3: listen a.address = 127.0.0.1:80: "
                 "taken by listen a.address = 0.0.0.0:80 at v.ini:2\n");
    EXPECT_WRONG("[listen a]\naddress=unix:/x\naddress=unix:/x\n",
                 "v.ini:3: listen a.address = unix:/x: "
                 "taken by listen a.address = unix:/x at v.ini:2\n");
    EXPECT_WRONG("[listen a]\naddress=systemd\naddress=systemd\n",
                 "v.ini:3: listen a.address = systemd: "
                 "taken by listen a.address = systemd at v.ini:2\n");
}

Test(conf, takes_addresses_that_only_look_alike)
{
    EXPECT_RIGHT("[listen a]\naddress=127.0.0.1:0, 127.0.0.1:0, *:0, *:0, 127.0.0.1:80, [::1]:80, "
                 "127.0.0.1:81, 0.0.0.0:82, [::]:82, unix:/x, unix:/y, systemd\n",
                 "");
    EXPECT_RIGHT("[listen a]\naddress=systemd\n[listen b]\naddress=systemd\n", "");
}

Test(conf, warns_of_values_that_make_each_other_void)
{
    EXPECT_RIGHT("[pool]\nidle_total=8\n",
                 "v.ini:2: warning: pool.idle_per_host is more than pool.idle_total: "
                 "one host will never have so many\n");
    EXPECT_RIGHT("[limits]\ntarget_bytes = 128K\n",
                 "v.ini:2: warning: limits.target_bytes is more than limits.head_bytes: "
                 "a long target is refused with 431, never with 414\n");
    EXPECT_RIGHT("[server]\nmax_connections=5\nmax_connections_per_client=6\n",
                 "v.ini:3: warning: server.max_connections_per_client is more than "
                 "server.max_connections: it will never be reached\n");
    cr_assert_eq(messages.error_count, 0);
}

Test(conf, does_not_warn_of_a_value_that_was_refused)
{
    EXPECT_WRONG("[limits]\nhead_bytes = 1\n[listen a]\naddress = x\n",
                 "v.ini:2: limits.head_bytes = 1: expected a size (K, M, G) from 1K to 1M\n"
                 "v.ini:4: listen a.address = x: "
                 "expected IP:PORT, [IP6]:PORT, *:PORT, unix:/PATH or systemd\n");
}

Test(conf, warns_of_socket_permissions_without_a_socket)
{
    EXPECT_RIGHT("[listen a]\naddress=*:1\nmode=0600\ngroup=root\n",
                 "v.ini:4: warning: listen a.group means nothing without a unix: address\n"
                 "v.ini:3: warning: listen a.mode means nothing without a unix: address\n");
    EXPECT_RIGHT("[listen a]\naddress=*:1,unix:/x\nmode=0600\ngroup=root\n", "");
}

Test(conf, warns_of_an_admin_socket_that_other_machines_may_write_to)
{
    const char *warning = "v.ini:4: warning: admin.write lets other machines reload, cut "
                          "connections and see what clients ask for: all in admin.allow, without a "
                          "password\n";

    EXPECT_RIGHT("[admin]\naddress=10.0.0.1:9\nallow=any\nwrite=on\n", warning);
    EXPECT_RIGHT("[admin]\naddress=10.0.0.1:9\nallow=loopback, 10.0.0.0/8\nwrite=on\n", warning);
    EXPECT_RIGHT("[admin]\naddress=10.0.0.1:9\nallow=127.0.0.0/8, ::1\nwrite=on\n", "");
    EXPECT_RIGHT("[admin]\naddress=10.0.0.1:9\nwrite=on\n", "");
    EXPECT_RIGHT("[admin]\naddress=10.0.0.1:9\nallow=any\n", "");
}

Test(conf, checks_user_group_hosts_file_and_log)
{
    EXPECT_RIGHT("[server]\nuser=root\n", "");
    cr_assert_str_eq(conf->server.user, "root");
    EXPECT_WRONG("[server]\nuser=no-such-user\n[listen a]\naddress=unix:/x\ngroup=no-such-group\n",
                 "v.ini:5: listen a.group = no-such-group: no such group\n"
                 "v.ini:2: server.user = no-such-user: no such user\n");
    EXPECT_RIGHT("[dns]\nhosts=/none\n",
                 "v.ini:2: warning: dns.hosts = /none: No such file or directory\n");
    EXPECT_RIGHT("[dns]\nhosts=/dev\n",
                 "v.ini:2: warning: dns.hosts = /dev: not a regular file: it names no host\n");
    EXPECT_RIGHT("[dns]\nhosts=/dev/null\n",
                 "v.ini:2: warning: dns.hosts = /dev/null: not a regular file: it names no host\n");
    EXPECT_RIGHT("[log]\ndestination=/none/log\n",
                 "v.ini:2: warning: log.destination = /none/log: it cannot be opened, and a start "
                 "will fail: No such file or directory\n");
    EXPECT_RIGHT("[log]\ndestination=/dev/null/log\n",
                 "v.ini:2: warning: log.destination = /dev/null/log: it cannot be opened, and a "
                 "start will fail: Not a directory\n");
    EXPECT_RIGHT("[log]\ndestination=/tmp\n",
                 "v.ini:2: warning: log.destination = /tmp: it cannot be opened, and a start will "
                 "fail: Is a directory\n");
    EXPECT_RIGHT("[log]\ndestination=/dev/null\n", "");
    EXPECT_RIGHT("[log]\ndestination=/log\n", "");
}

Test(conf, does_not_wait_for_a_pipe_that_is_no_hosts_file, .timeout = 20)
{
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    cr_assert_eq(load("[dns]\nhosts=pipe\n"), 0);
    cr_assert_not_null(strstr(said(), "/pipe: not a regular file"));
}

/* ---- Messages and dump ---- */

Test(conf, formats_messages_of_every_origin)
{
    char buf[64];

    conf_messages_add(&messages, false, (struct conf_origin){"f", 7}, "a%d", 1);
    conf_messages_add(&messages, true, (struct conf_origin){"-o", 2}, "b");
    conf_messages_add(&messages, false, (struct conf_origin){NULL, 0}, "c\nd\xc2\x9b\xe2\x80\xae");
    conf_messages_add(&messages, false, (struct conf_origin){"g\n\x9b", 0}, "e");
    EXPECT_SAID("f:7: a1\n-o 2: warning: b\nbuilt-in: c?d??\ng??: e\n");
    cr_assert_eq(messages.error_count, 3);
    conf_message_format(&messages.items[0], buf, 4);
    cr_assert_str_eq(buf, "f:7");
}

Test(conf, sorts_messages_by_file_and_line)
{
    static const struct {
        struct conf_origin origin;
        const char *text;
    } found[] = {
        {{"b.ini", 9}, "b9"},  {{"a.ini", 0}, "a, the rest"}, {{NULL, 0}, "built in"},
        {{"a.ini", 2}, "a2"},  {{"b.ini", 3}, "b3"},          {{"b.ini", 9}, "b9 once more"},
        {{"-o", 1}, "option"}, {{"a.ini", 10}, "a10"},        {{"b.ini", 1}, "b1"},
    };

    conf_messages_sort(&messages);
    for (size_t i = 0; i < ARRAY_LEN(found); i++) {
        conf_messages_add(&messages, i % 2 == 0, found[i].origin, "%s", found[i].text);
    }
    conf_messages_sort(&messages);
    EXPECT_SAID("b.ini:1: warning: b1\nb.ini:3: warning: b3\nb.ini:9: warning: b9\n"
                "b.ini:9: b9 once more\n"
                "a.ini:2: a2\na.ini:10: a10\na.ini: a, the rest\n"
                "built-in: warning: built in\n-o 1: warning: option\n");
}

Test(conf, dumps_where_each_value_came_from)
{
    cr_assert_eq(LOAD_WITH("[listen lan]\naddress=127.0.0.1:1\naddress=*:2\n[server]\n\nname=x\n",
                           "timeouts.header=60000ms"),
                 0, "%s", said());
    cr_assert(strstr(dumped(), "\nname = x ; v.ini:6\n"));
    cr_assert(strstr(dumped(), "\n[listen lan]\naddress = 127.0.0.1:1 ; v.ini:2\n"
                               "address = *:2 ; v.ini:3\nmode = 0660 ; built-in\n"));
    cr_assert(strstr(dumped(), "\nheader = 60s ; -o 1\n"));
    cr_assert(strstr(dumped(), "\nuser = ; built-in; restart to change\n"));
    cr_assert(strstr(dumped(), "\n[access]\nlocal = allow from loopback,unix to any ; built-in\n"));
    EXPECT_RIGHT("[access]\n", "");
    cr_assert(str_ends(str_of(dumped()), STR("\n[access]\n")));
}

static void put_shouting(const struct conf_rule *rule, void (*put)(void *arg, struct str text),
                         void *arg)
{
    put(arg, str_of(rule->name));
    put(arg, STR("!"));
}

Test(conf, dumps_rules_as_the_caller_writes_them)
{
    static char buf[65536];
    struct text out = TEXT_OVER(buf);
    const struct conf_dump_options options = {
        .put = put_dump, .put_rule = put_shouting, .arg = &out};

    EXPECT_RIGHT("[access]\na = deny\n", "");
    conf_dump(conf, &options);
    cr_assert(str_ends(text_str(&out), STR("\n[access]\na = a! ; v.ini:2\n")));
}

/* Without the comments, which tell of other places the second time. */
static char *dumped_values(void)
{
    char *copy = strdup(dumped());
    char *out = copy;
    char *in = strchr(copy, '\n'); /* the first line names the source */
    bool in_comment = false;

    cr_assert_not_null(copy);
    for (; *in; in++) {
        in_comment = *in != '\n' && (in_comment || strncmp(in, " ; ", 3) == 0);
        if (!in_comment) {
            *out++ = *in;
        }
    }
    *out = '\0';
    return copy;
}

static void expect_dump_reads_back(const char *ini)
{
    char *first;
    char *second;

    EXPECT_RIGHT(ini, "");
    first = dumped_values();
    EXPECT_RIGHT(dumped(), "");
    second = dumped_values();
    cr_assert_str_eq(first, second);
    free(first);
    free(second);
}

Test(conf, reads_its_own_dump)
{
    expect_dump_reads_back("");
    expect_dump_reads_back(
        "[listen a]\naddress=*:1, unix:x, systemd\nmode=0600\ngroup=root\nforwarded=rfc7239\n"
        "[listen b]\naddress=[::1]:2\n[dns]\nservers=1.1.1.1,::1\nhosts=v.ini\nfamily=ipv6\n"
        "[log]\ndestination=a;b.log\naccess=squid\ntunnels=both\nlevel=debug\nbuffer=1M\n"
        "[server]\nuser=root\nworkers=2\nvia=off\nexplain=none\ntcp_keepalive=0\n"
        "max_connections=100\nmax_connections_per_client=7\ngrace=1500ms\n"
        "[timeouts]\nexchange=1d\ntunnel=90m\n[limits]\nbuffers=100M\nbody_bytes=1025\n"
        "[auth]\nusers=u\nrealm=a \"b\"\ncache=0\nfailures=7/d\n"
        "[access]\nb = deny  port 80\na = allow from 10.0.0.0/8, loopback\n");
    expect_dump_reads_back("[access]\n");
}
