// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "conf/conf.h"
#include "conf/conf_diff.h"
#include "conf/conf_keys.h"
#include "conf/conf_state.h"
#include "conf/conf_value.h"

static struct conf *before, *after;
static char told_buf[65536];

static void teardown(void)
{
    conf_free(before);
    conf_free(after);
}

TestSuite(conf_diff, .fini = teardown);

/* What a file with these options would make. */
static struct conf *load(const char *const *options, size_t count)
{
    const struct conf_load_options how = {"/dev/null", options, count};
    struct conf_messages messages = {0};
    struct conf *conf = NULL;

    cr_assert_eq(conf_load(&how, &conf, &messages), 0);
    conf_messages_deinit(&messages);
    return conf;
}

static void tell(void *arg, const struct conf_change *change)
{
    text_put(arg, change->name);
    text_puts(arg, change->needs_restart ? "! " : " ");
}

/* The names of what is told, those that need a restart with '!'. */
static const char *told(void)
{
    struct text out = TEXT_OVER(told_buf);

    conf_diff(before, before, after, tell, &out);
    return text_cstr(&out);
}

static const char *told_between(const char *old_option, const char *new_option)
{
    teardown();
    before = load(&old_option, 1);
    after = load(&new_option, 1);
    return told();
}

Test(conf_diff, tells_nothing_of_what_is_the_same)
{
    cr_expect_str_eq(told_between("server.grace=60s", "server.grace=1m"), "");
    cr_expect_str_eq(told_between("listen a.address=*:1", "listen a.address=*:1"), "");
}

/* One pair for each type of value. */
Test(conf_diff, tells_each_type)
{
    static const struct {
        const char *before, *after, *told;
    } cases[] = {
        {"limits.fields=200", "limits.fields=201", "limits.fields "},
        {"server.workers=auto", "server.workers=1", "server.workers! "},
        {"limits.buffers=auto", "limits.buffers=64M", "limits.buffers "},
        {"server.grace=1s", "server.grace=1001ms", "server.grace "},
        {"auth.failures=10/m", "auth.failures=10/h", "auth.failures "},
        {"auth.failures=10/m", "auth.failures=11/m", "auth.failures "},
        {"server.via=on", "server.via=off", "server.via "},
        {"server.explain=rule", "server.explain=none", "server.explain "},
        {"server.name=a", "server.name=b", "server.name "},
        {"auth.realm=a", "auth.realm=b", "auth.realm "},
        {"dns.hosts=/a", "dns.hosts=/b", "dns.hosts "},
        {"admin.mode=0600", "admin.mode=0660", "admin.mode "},
        {"admin.address=off", "admin.address=auto", "admin.address "},
        {"admin.address=127.0.0.1:1", "admin.address=127.0.0.1:2", "admin.address "},
        {"admin.address=unix:/a", "admin.address=unix:/b", "admin.address "},
        {"admin.allow=loopback", "admin.allow=private", "admin.allow "},
        {"admin.allow=10.0.0.0/8", "admin.allow=10.0.0.0/9", "admin.allow "},
        {"admin.allow=loopback", "admin.allow=loopback,private", "admin.allow "},
        {"dns.servers=127.0.0.1", "dns.servers=127.0.0.1:54", "dns.servers "},
        {"dns.servers=127.0.0.1,127.0.0.2", "dns.servers=127.0.0.2,127.0.0.1", "dns.servers "},
        {"listen a.address=*:1", "listen a.address=*:2", "listen a.address "},
        {"listen a.address=*:1", "listen a.address=systemd", "listen a.address "},
        {"access.a=deny port 1", "access.a=deny port 2", "access.a "},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_str_eq(told_between(cases[i].before, cases[i].after), cases[i].told,
                         "case %zu: %s", i, told_buf);
        cr_expect_str_eq(told_between(cases[i].after, cases[i].before), cases[i].told,
                         "case %zu back: %s", i, told_buf);
    }
}

Test(conf_diff, tells_what_a_new_section_has)
{
    static const char *const one[] = {"listen a.address=127.0.0.1:1"};
    static const char *const two[] = {"listen a.address=127.0.0.1:1", "listen b.address=*:2"};

    before = load(one, 1);
    after = load(two, 2);
    cr_expect_str_eq(told(), "listen b.address listen b.mode listen b.forwarded ");
}

/* What is shown of both is the same: the comparison is one of values. */
Test(conf_diff, tells_a_change_that_is_not_shown)
{
    static char options[2][16384];

    for (size_t k = 0; k < 2; k++) {
        struct text text = TEXT_OVER(options[k]);

        text_puts(&text, "admin.allow=");
        for (unsigned i = 0; i < 900; i++) {
            text_printf(&text, "%s10.%u.%u.%u", i > 0 ? "," : "", i == 899 ? (unsigned)k : 100,
                        i / 250, i % 250);
        }
        (void)text_cstr(&text);
    }
    cr_expect_str_eq(told_between(options[0], options[1]), "admin.allow ");
    cr_expect_str_eq(told_between(options[0], options[0]), "");
}

/* Of every key: the default is the default, however often it is read. */
Test(conf_diff, every_key_is_equal_to_itself)
{
    before = load(NULL, 0);
    after = load(NULL, 0);
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        bool is_listener = strcmp(key->section, "listen") == 0;
        const void *a = is_listener ? (const void *)before->listeners : before;
        const void *b = is_listener ? (const void *)after->listeners : after;

        cr_expect(conf_value_eq(key, a, b), "%s.%s", key->section, key->name);
    }
}
