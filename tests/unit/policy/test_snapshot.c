// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../faults.h"
#include "base/text.h"
#include "conf/conf.h"
#include "policy/domains.h"
#include "policy/policy.h"
#include "policy/policy_private.h"
#include "policy/snapshot.h"

/* Each test has a process and a directory of its own, and stands in that directory. What is not
 * freed here, or freed twice, the sanitizers tell. */
static char dir[] = "/tmp/test_snapshot.XXXXXX";
static struct conf_messages messages;

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void teardown(void)
{
    char command[64];

    conf_messages_deinit(&messages);
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(snapshot, .init = setup, .fini = teardown);

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    cr_assert_not_null(file, "%s", name);
    (void)fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static int load(const struct snapshot *previous, struct snapshot **ret)
{
    const struct conf_load_options options = {.path = "v.ini"};

    conf_messages_deinit(&messages);
    return snapshot_load(&options, previous, ret, &messages);
}

static const char *said(void)
{
    static char buf[8192];
    struct text out = TEXT_OVER(buf);

    for (size_t i = 0; i < messages.count; i++) {
        char line[2048];

        conf_message_format(&messages.items[i], line, sizeof(line));
        text_puts(&out, line);
        text_char(&out, '\n');
    }
    return text_cstr(&out);
}

Test(snapshot, lives_until_the_last_reference_goes)
{
    struct snapshot *snapshot = NULL;

    write_file("v.ini", "");
    cr_assert_eq(load(NULL, &snapshot), 0);
    cr_expect_eq(snapshot_ref(snapshot), snapshot);
    snapshot_unref(snapshot);
    cr_expect_eq(snapshot->generation, 1);
    cr_expect_eq(policy_line_count(snapshot->policy), 1);
    cr_expect_null(snapshot->users);
    snapshot_unref(snapshot);
    snapshot_unref(NULL);
}

Test(snapshot, tells_what_is_wrong_everywhere_at_once)
{
    struct snapshot *snapshot = NULL;

    write_file("v.ini", "[server]\nworkers = many\n[auth]\nusers = none\n"
                        "[access]\na = deny port 0\nb = allow user bob\nc = deny hosts none\n");
    cr_assert_eq(load(NULL, &snapshot), 1);
    cr_expect_null(snapshot);
    cr_expect_eq(messages.error_count, 4, "%s", said());
}

/* A file that was written this very moment may change again without looking different, so its list
 * is not shared yet. */
static struct snapshot *load_until_old(struct snapshot *snapshot)
{
    for (int i = 0; i < 1000; i++) {
        struct snapshot *next = NULL;
        bool is_shared;

        cr_assert_eq(load(snapshot, &next), 0, "%s", said());
        is_shared = next->policy->shelf.items[0] == snapshot->policy->shelf.items[0];
        snapshot_unref(snapshot);
        snapshot = next;
        if (is_shared) {
            return snapshot;
        }
        (void)usleep(10000);
    }
    cr_assert_fail("the list is read anew each time");
    return snapshot;
}

Test(snapshot, counts_generations_and_shares_what_has_not_changed)
{
    struct snapshot *first = NULL;
    struct snapshot *second = NULL;

    write_file("a.txt", "a.example\n");
    write_file("b.txt", "b.example\n");
    write_file("v.ini", "[access]\na = deny hosts a.txt\nb = deny hosts b.txt,a.txt\n");
    cr_assert_eq(load(NULL, &first), 0, "%s", said());
    cr_assert_eq(first->policy->shelf.count, 2);
    first = load_until_old(first);
    write_file("b.txt", "b.example\nc.example\n");
    cr_assert_eq(load(first, &second), 0, "%s", said());
    cr_expect_eq(second->generation, first->generation + 1);
    cr_expect_eq(second->policy->shelf.items[0], first->policy->shelf.items[0]);
    cr_expect_neq(second->policy->shelf.items[1], first->policy->shelf.items[1]);
    snapshot_unref(first);
    cr_expect(domains_has(second->policy->shelf.items[0], STR("a.example")));
    snapshot_unref(second);
}

Test(snapshot, leaves_the_one_in_force_alone_when_the_next_is_wrong)
{
    struct snapshot *first = NULL;
    struct snapshot *second = NULL;

    write_file("a.txt", "a.example\n");
    write_file("v.ini", "[access]\na = deny hosts a.txt\n");
    cr_assert_eq(load(NULL, &first), 0);
    write_file("v.ini", "[access]\na = deny hosts a.txt\nb = deny port 70000\n");
    cr_expect_eq(load(first, &second), 1);
    cr_expect_null(second);
    cr_expect(domains_has(first->policy->shelf.items[0], STR("a.example")));
    snapshot_unref(first);
}

static void forget(void)
{
    conf_messages_deinit(&messages);
}

static int load_and_free(void)
{
    struct snapshot *snapshot = NULL;
    int r = load(NULL, &snapshot);

    snapshot_unref(snapshot);
    return r;
}

static void note_file(void *arg, const char *path)
{
    const char *name = strrchr(path, '/');

    (void)strcat(arg, name ? name + 1 : path);
    (void)strcat(arg, " ");
}

/* Of a list that has not changed, too: the look at it may take as long. */
Test(snapshot, tells_of_each_file_before_it_is_read)
{
    const struct conf_load_options options = {.path = "v.ini"};
    struct snapshot *first = NULL;
    struct snapshot *second = NULL;
    char names[256] = "";

    write_file("a.txt", "a.example\n");
    write_file("more.ini", "[access]\na = deny hosts a.txt\n");
    write_file("v.ini", "include = more.ini\n[auth]\nusers = none\n");
    messages.reading = note_file;
    messages.arg = names;
    cr_expect_neq(snapshot_load(&options, NULL, &first, &messages), 0);
    cr_expect_str_eq(names, "v.ini more.ini a.txt none ");
    conf_messages_deinit(&messages);
    write_file("v.ini", "include = more.ini\n");
    cr_assert_eq(load(NULL, &first), 0);
    conf_messages_deinit(&messages);
    names[0] = '\0';
    messages.reading = note_file;
    messages.arg = names;
    cr_expect_eq(snapshot_load(&options, first, &second, &messages), 0);
    cr_expect_str_eq(names, "v.ini more.ini a.txt ");
    snapshot_unref(first);
    snapshot_unref(second);
}

/* A message that could not be kept is no reason to start with what it was about. */
Test(snapshot, survives_each_allocation_that_fails, .timeout = 60)
{
    write_file("a.txt", "a.example\nb.example\n");
    write_file("v.ini", "[access]\n"
                        "a = deny hosts a.txt from 10.0.0.0/8,fd00::/8 port 1-9\n"
                        "b = report host .a.example,*.b.example,c.example method GET,PUT\n"
                        "c = allow not to 10.1.0.0/16 listener local time mon 10:00-11:00\n"
                        "d = allow to 10.0.0.0/8 not to 10.1.0.0/16 not port 25\n"
                        "e = deny port 7,8000-8999\n");
    cr_expect_geq(fail_each_allocation(forget, load_and_free), 60);
}
