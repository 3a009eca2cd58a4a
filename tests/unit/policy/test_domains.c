// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../faults.h"
#include "base/clock.h"
#include "base/file.h"
#include "conf/conf.h"
#include "policy/domains.h"

#define WINDOW 65536 /* what the reader holds of a file */

static struct domains *list;
static struct conf_messages messages;
static char directory[] = "/tmp/test_domains.XXXXXX";
static char file[64];

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(file, sizeof(file), "%s/list", directory);
}

static void forget(void)
{
    domains_unref(list);
    list = NULL;
    conf_messages_deinit(&messages);
}

static void tear_down(void)
{
    forget();
    (void)unlink(file);
    (void)rmdir(directory);
}

TestSuite(domains, .init = set_up, .fini = tear_down);

static void parse_str(struct str text)
{
    forget();
    cr_assert_eq(domains_parse(text, "list", &messages, &list), 0);
}

static void parse(const char *text)
{
    parse_str(str_of(text));
}

static bool has(const char *name)
{
    return domains_has(list, str_of(name));
}

/* The message at index, or "". */
static const char *message(size_t index)
{
    static char line[2048];

    line[0] = '\0';
    if (index < messages.count) {
        conf_message_format(&messages.items[index], line, sizeof(line));
    }
    return line;
}

static void write_file(struct str text)
{
    FILE *out = fopen(file, "w");

    cr_assert_not_null(out);
    cr_assert_eq(fwrite(text.ptr, 1, text.len, out), text.len);
    cr_assert_eq(fclose(out), 0);
}

/* ---- Forms ---- */

Test(domains, each_form_reaches_as_far_as_it_says)
{
    static const struct {
        const char *line;
        bool itself, below, far_below;
    } rows[] = {
        {"example.com", true, true, true},
        {"0.0.0.0 example.com", true, true, true},
        {"127.0.0.1 example.com", true, true, true},
        {":: example.com", true, true, true},
        {"::1\texample.com", true, true, true},
        {"fe80::1%lo0 example.com", true, true, true},
        {"0 example.com", true, true, true},
        {"0.0.0.0 example.com # for all", true, true, true},
        {"0.0.0.0 example.com#for all", true, true, true},
        {"example.com # for all", true, true, true},
        {"||example.com^", true, true, true},
        {".example.com", true, true, true},
        {"=example.com", true, false, false},
        {"*.example.com", false, true, true},
        {"EXAMPLE.Com.", true, true, true},
        {"  example.com \t", true, true, true},
        {"example.com\r", true, true, true},
        {"=com", false, false, false},
        {"=a.example.com", false, true, false},
        {"*.a.example.com", false, false, true},
        /* Not for the whole name. */
        {"||example.com^$third-party", false, false, false},
        {"||example.com", false, false, false},
        {"@@||example.com^", false, false, false},
        {"||example.com^|", false, false, false},
        {"||*.example.com^", false, false, false},
        {"example.com/ads", false, false, false},
        {"example.com##.ad", false, false, false},
        {"example.*", false, false, false},
        {"ex*mple.com", false, false, false},
        {"*example.com", false, false, false},
        {"address=/example.com/0.0.0.0", false, false, false},
        {"# example.com", false, false, false},
        {"! example.com", false, false, false},
        {"[example.com]", false, false, false},
        {"example.com example.net", false, false, false},
        {"ample.com", false, false, false},
        {"w.example.com.", false, false, false},
        {"example.com..", false, false, false},
        {"example .com", false, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        parse(rows[i].line);
        cr_expect_eq(has("example.com"), rows[i].itself, "%s", rows[i].line);
        cr_expect_eq(has("a.example.com"), rows[i].below, "%s", rows[i].line);
        cr_expect_eq(has("b.a.example.com"), rows[i].far_below, "%s", rows[i].line);
        cr_expect_not(has("notexample.com"), "%s", rows[i].line);
        cr_expect_not(has("example.org"), "%s", rows[i].line);
        cr_expect_not(has("example.com.org"), "%s", rows[i].line);
        cr_expect_not(has(""), "%s", rows[i].line);
    }
}

Test(domains, a_top_level_domain_may_be_listed)
{
    parse("com\n*.net\n=org");
    cr_expect(has("com") && has("a.com"));
    cr_expect(has("a.net"));
    cr_expect_not(has("net"));
    cr_expect(has("org"));
    cr_expect_not(has("a.org"));
}

Test(domains, several_names_stand_on_a_line_of_a_hosts_file)
{
    parse("0.0.0.0 a.example b.example\tc.example\n0.0.0.0 d.example no_more#.example e.example");
    for (const char *name = "abcd"; *name; name++) {
        cr_expect(domains_has(
            list, str_of((char[]){*name, '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e', '\0'})));
    }
    cr_expect(has("no_more"));
    cr_expect_not(has("e.example"));
    cr_expect_eq(domains_counts(list)->names, 5);
    cr_expect_eq(messages.count, 0);
}

Test(domains, one_broken_name_leaves_the_others_of_its_line)
{
    parse("0.0.0.0 a.example b..example c.example");
    cr_expect(has("a.example") && has("c.example"));
    cr_expect_eq(domains_counts(list)->broken, 1);
    cr_expect_str_eq(message(0), "list:1: warning: '0.0.0.0 a.example b..example c.example' is "
                                 "passed over: a name has no two dots in a row");
}

Test(domains, the_head_of_a_hosts_file_lists_nothing)
{
    parse("# a hosts file\n"
          "127.0.0.1 localhost\n127.0.0.1 localhost.localdomain\n127.0.0.1 local\n"
          "255.255.255.255 broadcasthost\n::1 localhost ip6-localhost ip6-loopback\n"
          "fe80::1%lo0 localhost\nff00::0 ip6-localnet\nff00::0 ip6-mcastprefix\n"
          "ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\nff02::3 ip6-allhosts\n"
          "0.0.0.0 0.0.0.0\n0.0.0.0\n\n192.0.2.1 # nothing\n");
    cr_expect_eq(domains_counts(list)->names, 0);
    cr_expect_eq(domains_counts(list)->locals, 13);
    cr_expect_eq(domains_counts(list)->addresses, 3);
    cr_expect_eq(domains_counts(list)->broken, 0);
    cr_expect_eq(messages.count, 1);
    cr_expect_str_eq(message(0), "list: warning: lists no name");
}

Test(domains, what_is_passed_over_is_counted_by_its_kind)
{
    parse("[Adblock Plus 2.0]\n! Title: filters\n||a.example^\n@@||b.example^\n/banner/\n"
          "a.example##.ad:has-text(some words)\n||c.example^$popup\n192.0.2.1\n||192.0.2.1^\n"
          "=192.0.2.1\nb\xc3\xbc"
          "cher.example\n||b\xc3\xbc"
          "cher.example^\n0.0.0.0 b\xc3\xbc"
          "cher.example\n@@||b\xc3\xbc"
          "cher.example^\n");
    cr_expect_eq(domains_counts(list)->names, 1);
    cr_expect_eq(domains_counts(list)->filters, 5);
    cr_expect_eq(domains_counts(list)->addresses, 3);
    cr_expect_eq(domains_counts(list)->foreign, 3);
    cr_expect_eq(domains_counts(list)->broken, 0);
    cr_expect_eq(messages.count, 2);
    cr_expect_str_eq(message(0),
                     "list: warning: 5 lines are filters of other kinds and passed over");
    cr_expect_str_eq(message(1), "list: warning: 3 names are not ASCII and passed over: their xn-- "
                                 "form is needed");
}

Test(domains, broken_lines_say_why)
{
    static const struct {
        const char *line, *why;
    } rows[] = {
        {"a..example", "a name has no two dots in a row"},
        {"..example", "a name has no two dots in a row"},
        {"=", "a name is missing"},
        {"a,b", "a name is made of letters, digits, '-', '_' and dots"},
        {"a.example:80", "what ends in a number is no name, and this is no address"},
        {"a b", "several names can stand behind an address only"},
        {"example.1", "what ends in a number is no name, and this is no address"},
        {"1.2.3.400", "what ends in a number is no name, and this is no address"},
        {"\xff\xfe", "a name is made of letters, digits, '-', '_' and dots"},
        {"0.0.0.0 \xc3\xbc\x80", "a name is made of letters, digits, '-', '_' and dots"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        parse(rows[i].line);
        cr_expect_eq(domains_counts(list)->broken, 1, "%s", rows[i].line);
        cr_expect_eq(messages.count, 2, "%s", rows[i].line);
        cr_expect_not_null(strstr(message(0), rows[i].why), "%s: %s", rows[i].line, message(0));
    }
}

Test(domains, no_byte_of_a_line_garbles_its_message)
{
    parse_str(STR("a\0b\n\x1b[31mred\n\xc3\x28"));
    cr_expect_eq(domains_counts(list)->broken, 3);
    cr_expect_str_eq(message(0),
                     "list:1: warning: 'a?b' is passed over: a name is made of letters, "
                     "digits, '-', '_' and dots");
    cr_expect_not_null(strstr(message(1), "'?[31mred'"));
    cr_expect_not_null(strstr(message(2), "'?('"));
}

Test(domains, the_first_ten_broken_lines_are_shown_and_all_are_counted)
{
    char text[4096];
    struct text out = TEXT_OVER(text);

    for (int i = 0; i < 100; i++) {
        text_puts(&out, "ok.example\nnot ok\n");
    }
    parse_str(text_str(&out));
    cr_expect_eq(domains_counts(list)->broken, 100);
    cr_expect_eq(messages.count, 11);
    cr_expect_eq(messages.error_count, 0);
    for (size_t i = 0; i < 10; i++) {
        cr_expect_eq(messages.items[i].origin.line, 2 * i + 2);
    }
    cr_expect_str_eq(message(10), "list: warning: 90 more lines are broken");
}

Test(domains, labels_and_names_have_their_lengths)
{
    char text[600];
    struct str longest;

    (void)snprintf(text, sizeof(text), "%063d.%063d.%063d.%056d.name", 0, 0, 0, 0);
    longest = str_of(text);
    cr_assert_eq(longest.len, 253);
    parse_str(longest);
    cr_expect(domains_has(list, longest));
    cr_expect_not(domains_has(list, str_from(longest, 1)));
    (void)snprintf(text, sizeof(text), "%063d.%063d.%063d.%057d.name", 0, 0, 0, 0);
    parse(text);
    cr_expect_eq(domains_counts(list)->broken, 1);
    (void)snprintf(text, sizeof(text), "%064d.name", 0);
    parse(text);
    cr_expect_eq(domains_counts(list)->broken, 1);
    parse("0");
    cr_expect_eq(domains_counts(list)->addresses, 1);
}

Test(domains, a_name_may_have_as_many_labels_as_fit)
{
    char text[256] = {0};

    for (size_t i = 0; i < 253; i++) {
        text[i] = i % 2 == 0 ? 'a' : '.';
    }
    parse(text);
    cr_expect(has(text));
    cr_expect_not(has(text + 2));
    parse("a.a.a");
    cr_expect(has(text));
    cr_expect_not(has("a.a"));
    parse("=a.a.a");
    cr_expect_not(has(text));
}

/* ---- Folding ---- */

Test(domains, what_others_list_already_is_folded_away)
{
    static const struct {
        const char *text;
        size_t names, folded;
    } rows[] = {
        {"a.example\nA.example.\n||a.example^\n0.0.0.0 a.example", 1, 3},
        {"a.example\nb.a.example\n=c.b.a.example\n*.d.a.example", 1, 3},
        {"=c.b.a.example\n*.d.a.example\nb.a.example\na.example", 1, 3},
        {"*.a.example\n=a.example", 1, 1},
        {"*.a.example\n=b.a.example\na.example", 1, 2},
        {"=a.example\nb.a.example", 2, 0},
        {"=a.example\n=b.a.example\n*.b.a.example", 2, 1},
        {"example\na.example\nb.a.example\nc.b.a.example", 1, 3},
        {"c.b.a.example\nb.a.example\na.example\nexample", 1, 3},
        {"a.example\nb.example\naa.example\n.b.example", 3, 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        parse(rows[i].text);
        cr_expect_eq(domains_counts(list)->names, rows[i].names, "row %zu: %zu", i,
                     domains_counts(list)->names);
        cr_expect_eq(domains_counts(list)->folded, rows[i].folded, "row %zu", i);
    }
}

Test(domains, forms_of_one_name_add_up)
{
    parse("*.a.example\n=a.example\n=b.example\n*.b.example");
    cr_expect(has("a.example") && has("x.a.example"));
    cr_expect(has("b.example") && has("x.b.example"));
}

Test(domains, many_names_are_all_found_and_no_others)
{
    size_t cap = (size_t)1 << 20;
    char *text = malloc(cap);
    struct text out;
    char name[64];

    cr_assert_not_null(text);
    out = text_over(text, cap);
    for (unsigned i = 0; i < 20000; i++) {
        text_printf(&out, "%s%x.d%x.example\n", i % 2 ? "=" : "", i * 2, i % 100);
    }
    cr_assert_not(out.full);
    parse_str(text_str(&out));
    free(text);
    cr_expect_eq(domains_counts(list)->names, 20000);
    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof(name), "%x.d%x.example", i * 2, i % 100);
        cr_assert(has(name), "%s", name);
        (void)snprintf(name, sizeof(name), "%x.d%x.example", i * 2 + 1, i % 100);
        cr_assert_not(has(name), "%s", name);
        (void)snprintf(name, sizeof(name), "x.%x.d%x.example", i * 2, i % 100);
        cr_assert_eq(has(name), i % 2 == 0, "%s", name);
    }
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "d%x.example", i);
        cr_assert_not(has(name), "%s", name);
    }
}

/* ---- Files ---- */

Test(domains, a_file_reads_as_its_text_does)
{
    write_file(STR("\xef\xbb\xbf"
                   "a.example\r\n\r\n=b.example\r\nnot ok\r\nc.example"));
    cr_assert_eq(domains_load(file, &messages, &list), 0);
    cr_expect(has("a.example") && has("x.a.example"));
    cr_expect(has("b.example"));
    cr_expect_not(has("x.b.example"));
    cr_expect(has("c.example"));
    cr_expect_eq(domains_counts(list)->names, 3);
    cr_expect_eq(messages.count, 1);
    cr_expect_eq(messages.items[0].origin.line, 4);
    cr_expect_str_eq(messages.items[0].origin.file, file);
}

Test(domains, files_put_together_keep_their_marks)
{
    parse("\xef\xbb\xbf"
          "a.example\n\xef\xbb\xbf# next\n\xef\xbb\xbf\n\xef\xbb\xbf"
          "b.example");
    cr_expect(has("a.example") && has("b.example"));
    cr_expect_eq(messages.count, 0);
}

/* Lines that lie across the end of the reader's window, at every byte of theirs. */
Test(domains, lines_are_whole_wherever_the_window_ends)
{
    static const char tail[] = "\na.example\n=b.example\r\n0.0.0.0 c.example d.example\nnot ok\n";
    static char text[WINDOW + sizeof(tail)];

    for (size_t cut = 0; cut < sizeof(tail); cut++) {
        size_t fill = WINDOW - cut;

        memset(text, '#', fill);
        for (size_t at = 100; at < fill; at += 100) {
            text[at] = '\n';
        }
        memcpy(text + fill, tail, sizeof(tail) - 1);
        write_file(str_make(text, fill + sizeof(tail) - 1));
        forget();
        cr_assert_eq(domains_load(file, &messages, &list), 0);
        cr_assert(has("a.example") && has("b.example") && has("c.example") && has("d.example"));
        cr_assert_eq(domains_counts(list)->names, 4);
        cr_assert_eq(messages.count, 1);
        cr_assert_eq(messages.items[0].origin.line, (fill - 1) / 100 + 5);
    }
}

Test(domains, a_line_larger_than_the_window_is_broken_and_passed_over)
{
    static char text[4 * WINDOW];
    size_t longest[] = {WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 3 * WINDOW};

    for (size_t i = 0; i < ARRAY_LEN(longest); i++) {
        bool is_broken = longest[i] >= WINDOW;
        size_t len = longest[i];

        memset(text, 'x', len);
        memcpy(text, "#", 1);
        memcpy(text + len, "\na.example\nnot ok", 17);
        write_file(str_make(text, len + 17));
        forget();
        cr_assert_eq(domains_load(file, &messages, &list), 0);
        cr_expect(has("a.example"), "%zu", len);
        cr_expect_eq(domains_counts(list)->broken, is_broken ? 2 : 1, "%zu", len);
        cr_expect_eq(messages.items[messages.count - 1].origin.line, 3, "%zu", len);
        cr_expect_eq(strstr(message(0), "a line has at most 64K") != NULL, is_broken);
    }
}

Test(domains, what_is_no_file_is_told)
{
    cr_expect_eq(domains_load(file, &messages, &list), -ENOENT);
    cr_expect_eq(domains_load(directory, &messages, &list), FILE_NOT_REGULAR);
    cr_assert_eq(mkfifo(file, 0600), 0);
    cr_expect_eq(domains_load(file, &messages, &list), FILE_NOT_REGULAR);
    cr_expect_eq(messages.count, 0);
    cr_expect_null(list);
}

/* ---- Sharing ---- */

static const struct domains *get(struct domains_shelf *shelf, const struct domains_shelf *previous)
{
    const struct domains *found = NULL;

    cr_assert_eq(domains_shelf_get(shelf, previous, file, &messages, &found), 0);
    return found;
}

/* Loads until the file has been at rest for long enough to be trusted. */
static const struct domains *get_settled(struct domains_shelf *shelf)
{
    uint64_t deadline = clock_mono_ms() + 10000;

    for (;;) {
        struct domains_shelf next = {0};
        const struct domains *found = get(shelf, NULL);
        bool is_settled = get(&next, shelf) == found;

        domains_shelf_deinit(&next);
        if (is_settled) {
            return found;
        }
        cr_assert_lt(clock_mono_ms(), deadline);
        domains_shelf_deinit(shelf);
    }
}

Test(domains, a_shelf_has_each_file_once)
{
    struct domains_shelf shelf = {0};

    write_file(STR("a.example"));
    cr_expect_eq(get(&shelf, NULL), get(&shelf, NULL));
    cr_expect_eq(shelf.count, 1);
    domains_shelf_deinit(&shelf);
}

Test(domains, a_file_that_has_not_changed_is_not_read_again)
{
    struct domains_shelf shelves[3] = {{0}};
    const struct domains *found;

    write_file(STR("a.example\nnot ok\n"));
    found = get_settled(&shelves[0]);
    conf_messages_deinit(&messages);
    cr_expect_eq(get(&shelves[1], &shelves[0]), found);
    cr_expect_eq(messages.count, 0);
    domains_shelf_deinit(&shelves[0]);
    cr_expect(domains_has(found, STR("a.example")), "the second shelf has it still");
    write_file(STR("b.example\nnot ok\n"));
    found = get(&shelves[2], &shelves[1]);
    cr_expect(domains_has(found, STR("b.example")) && !domains_has(found, STR("a.example")));
    domains_shelf_deinit(&shelves[1]);
    domains_shelf_deinit(&shelves[2]);
}

/* It might be written again within the same tick of the kernel's clock for files. */
Test(domains, a_file_read_while_it_is_young_is_read_again)
{
    struct domains_shelf shelves[2] = {{0}};
    uint64_t deadline = clock_mono_ms() + 10000;
    uint64_t begin;
    bool is_other;

    do {
        begin = clock_mono_ms();
        domains_shelf_deinit(&shelves[0]);
        domains_shelf_deinit(&shelves[1]);
        write_file(STR("a.example"));
        is_other = get(&shelves[0], NULL) != get(&shelves[1], &shelves[0]);
    } while (!is_other && begin < deadline);
    cr_expect(is_other);
    domains_shelf_deinit(&shelves[0]);
    domains_shelf_deinit(&shelves[1]);
}

Test(domains, a_file_that_is_gone_is_not_taken_from_before)
{
    struct domains_shelf shelves[2] = {{0}};
    const struct domains *found;

    write_file(STR("a.example"));
    (void)get_settled(&shelves[0]);
    cr_assert_eq(unlink(file), 0);
    cr_expect_eq(domains_shelf_get(&shelves[1], &shelves[0], file, &messages, &found), -ENOENT);
    cr_expect_eq(shelves[1].count, 0);
    domains_shelf_deinit(&shelves[0]);
    domains_shelf_deinit(&shelves[1]);
}

/* ---- Memory ---- */

static void prepare(void)
{
    write_file(STR("a.example\nb.a.example\nb.example\n"));
}

static int load_and_look(void)
{
    struct domains_shelf shelf = {0};
    const struct domains *found = NULL;
    int r = domains_shelf_get(&shelf, NULL, file, &messages, &found);

    if (r == 0) {
        cr_assert(domains_has(found, STR("b.a.example")));
        cr_assert_not(domains_has(found, STR("c.example")));
    }
    domains_shelf_deinit(&shelf);
    return r;
}

Test(domains, every_allocation_may_fail)
{
    cr_expect_gt(fail_each_allocation(prepare, load_and_look), 5);
}
