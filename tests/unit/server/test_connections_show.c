// SPDX-License-Identifier: MIT
/* A listing as JSON and as a table, with texts that mean harm, and in several portions. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/attr.h"
#include "server/connections.h"
#include "server/connections_show.h"

static FILE *out;
static char *text;
static size_t text_len;

static void set_up(void)
{
    out = open_memstream(&text, &text_len);
    cr_assert_not_null(out);
}

static void tear_down(void)
{
    (void)fclose(out);
    free(text);
}

TestSuite(connections_show, .init = set_up, .fini = tear_down);

static const struct connections_row idle = {
    .kind = CENSUS_IDLE,
    .id = {"0-i1", 4},
    .client = {.kind = ADDR_IP4, .bytes = {192, 0, 2, 1}, .port = 5},
    .listener = {"lan", 3},
    .age_ms = 61000,
};

static const struct connections_row request = {
    .kind = CENSUS_REQUEST,
    .id = {"1-2f", 4},
    .client = {.kind = ADDR_UNIX, .uid = 1000},
    .user = {"a \"b\"\n", 6},
    .listener = {"lan", 3},
    .method = {"GET", 3},
    .target = {"http://a/", 9},
    .rule = {"office", 6},
    .upstream = {.kind = ADDR_IP4, .bytes = {10, 0, 0, 1}, .port = 80},
    .bytes_in = 999,
    .bytes_out = 1536,
    .age_ms = 1250,
    .generation = 3,
    .would_deny = {"no", 2},
};

static void show(struct connections_form *form, const struct connections_row *rows, size_t count)
{
    connections_show_begin(form, out);
    for (size_t i = 0; i < count; i++) {
        connections_show_rows(form, &rows[i], 1, out);
    }
    connections_show_end(form, out);
    cr_assert_eq(fflush(out), 0);
}

Test(connections_show, json)
{
    const struct connections_row rows[] = {idle, request};
    struct connections_form form = {0};

    show(&form, rows, 2);
    cr_assert_str_eq(text,
                     "{\"connections\":[\n"
                     "{\"id\":\"0-i1\",\"kind\":\"idle\",\"client\":\"192.0.2.1\",\"user\":null,"
                     "\"listener\":\"lan\",\"method\":null,\"target\":null,\"rule\":null,"
                     "\"upstream\":null,\"bytes_in\":null,\"bytes_out\":null,\"age_ms\":61000,"
                     "\"generation\":null},\n"
                     "{\"id\":\"1-2f\",\"kind\":\"request\",\"client\":\"unix:1000\","
                     "\"user\":\"a \\\"b\\\"\\n\",\"listener\":\"lan\",\"method\":\"GET\","
                     "\"target\":\"http://a/\",\"rule\":\"office\",\"upstream\":\"10.0.0.1:80\","
                     "\"bytes_in\":999,\"bytes_out\":1536,\"age_ms\":1250,\"generation\":3}\n"
                     "],\"count\":2}\n");
}

Test(connections_show, json_of_nothing)
{
    struct connections_form form = {0};

    show(&form, NULL, 0);
    cr_assert_str_eq(text, "{\"connections\":[],\"count\":0}\n");
}

Test(connections_show, a_table)
{
    const struct connections_row rows[] = {request, idle};
    struct connections_form form = {.as_text = true};

    connections_show_begin(&form, out);
    connections_show_rows(&form, rows, 2, out);
    connections_show_end(&form, out);
    cr_assert_eq(fflush(out), 0);
    cr_assert_str_eq(text,
                     "ID    KIND       AGE   IN   OUT  CLIENT     USER     LISTENER  RULE    "
                     "GENERATION  UPSTREAM     METHOD  TARGET\n"
                     "1-2f  request   1.2s  999  1.5K  unix:1000  a \"b\"\\n  lan       office  "
                     "         3  10.0.0.1:80  GET     http://a/\n"
                     "0-i1  idle     1m01s    -     -  192.0.2.1  -        lan       -       "
                     "         -  -            -       -\n"
                     "2 connections\n");
}

Test(connections_show, a_table_of_nothing)
{
    struct connections_form form = {.as_text = true};

    show(&form, NULL, 0);
    cr_assert_str_eq(text, "0 connections\n");
}

/* What is known only later makes columns wider, never narrower. */
Test(connections_show, a_table_in_portions)
{
    const struct connections_row rows[] = {idle, request, idle};
    struct connections_form form = {.as_text = true};

    show(&form, rows, 3);
    cr_assert_eq(strstr(text, "ID") - text, 0);
    cr_assert_not_null(strstr(text, "0-i1  idle     1m01s    -     -  192.0.2.1  -        lan"));
    cr_assert_not_null(strstr(text, "3 connections\n"));
}

Test(connections_show, a_blind_one_tells_no_targets)
{
    struct connections_form form = {.is_blind = true};
    struct connections_form table = {.is_blind = true, .as_text = true};

    show(&form, &request, 1);
    cr_assert_not_null(strstr(text, "\"target\":null"));
    cr_assert_not_null(strstr(text, "\"upstream\":null"));
    show(&table, &request, 1);
    cr_assert_null(strstr(text, "http://a/"));
    cr_assert_null(strstr(text, "10.0.0.1"));
}

Test(connections_show, the_rule_that_would_deny)
{
    struct connections_form form = {.would_deny = true};
    struct connections_form table = {.would_deny = true, .as_text = true};

    show(&form, &request, 1);
    cr_assert_not_null(strstr(text, ",\"would_deny\":\"no\"}"));
    show(&table, &request, 1);
    cr_assert_not_null(strstr(text, "WOULD-DENY"));
    cr_assert_not_null(strstr(text, "1 connection\n"));
}

/* Behind the name of its kind. */
static void check_cells(uint64_t age_ms, uint64_t bytes_out, const char *cells)
{
    struct connections_form form = {.as_text = true};
    struct connections_row row = request;
    size_t before = text_len;

    row.age_ms = age_ms;
    row.bytes_out = bytes_out;
    show(&form, &row, 1);
    cr_assert_not_null(strstr(text + before, cells), "%s is not in %s", cells, text + before);
}

Test(connections_show, ages_and_sizes)
{
    check_cells(0, 0, " 0.0s  999    0 ");
    check_cells(59999, 1023, " 59.9s  999  1023 ");
    check_cells(60000, 1024, " 1m00s  999  1.0K ");
    check_cells(3599999, 1048575, " 59m59s  999  1023.9K ");
    check_cells(7500000, 1048576, " 2h05m  999  1.0M ");
    check_cells(385200000, (uint64_t)5 << 60, " 4d11h  999  5.0E ");
    check_cells(UINT64_MAX, 1, "d");
}
