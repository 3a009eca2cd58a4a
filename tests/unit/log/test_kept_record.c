// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "log/kept_record.h"
#include "log/record.h"

static char line[2][2 * RECORD_LINE_MAX];

static struct log_record sample(void)
{
    return (struct log_record){
        .event = "request",
        .client = {.kind = ADDR_UNIX, .uid = 1000},
        .upstream = {.kind = ADDR_IP4, .bytes = {192, 0, 2, 1}, .port = 443},
        .start_wall_ms = 1700000000123,
        .id = STR("2-a1"),
        .user = STR("anne"),
        .listener = STR("lan"),
        .method = STR("CONNECT"),
        .target = STR("example.com:443"),
        .version = STR("HTTP/1.1"),
        .status = 200,
        .rule = STR("office"),
        .would_deny = STR("strict"),
        .route = STR("direct"),
        .parent = STR("hq"),
        .reused = true,
        .bytes_in = (uint64_t)1 << 40,
        .bytes_out = 39,
        .dns_ms = 3,
        .connect_ms = RECORD_MS_NONE,
        .wait_ms = 7,
        .referer = STR("http://a/"),
        .user_agent = STR("curl/8"),
        .content_type = STR("text/html"),
        .is_connect = true,
    };
}

/* What a line of each format shows is all that matters of a record. The addresses are not kept. */
static void expect_same_lines(const struct log_record *a, struct log_record *b)
{
    b->client = a->client;
    b->upstream = a->upstream;
    for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_SQUID; format++) {
        struct text first = text_over(line[0], sizeof(line[0]));
        struct text second = text_over(line[1], sizeof(line[1]));

        log_record_put(&first, (enum log_format)format, a);
        log_record_put(&second, (enum log_format)format, b);
        cr_assert(first.len > 0 || format == LOG_FORMAT_OFF);
        cr_expect(str_eq(text_str(&first), text_str(&second)), "%.*s", (int)second.len, line[1]);
    }
}

Test(kept_record, tells_the_same_line)
{
    struct log_record record = sample();
    struct kept_record *kept = kept_record_new(NULL, &record);
    struct log_record again;

    cr_assert_not_null(kept);
    kept_record_get(kept, &again);
    expect_same_lines(&record, &again);
    kept_record_free(NULL, kept);
}

Test(kept_record, holds_no_view_of_what_it_was_made_from)
{
    char target[] = "example.com:443";
    struct log_record record = {.event = "request", .target = str_of(target)};
    struct kept_record *kept = kept_record_new(NULL, &record);
    struct log_record again;

    cr_assert_not_null(kept);
    memset(target, 'x', sizeof(target) - 1);
    kept_record_get(kept, &again);
    cr_expect(str_eq(again.target, STR("example.com:443")));
    cr_expect_eq(again.user.len, 0);
    kept_record_free(NULL, kept);
}

Test(kept_record, string_without_end_is_cut_as_in_any_line)
{
    size_t len = 200000;
    char *text = malloc(len);
    struct log_record record = sample();
    struct log_record again;
    struct kept_record *kept;

    memset(text, 'a', len);
    record.target = str_make(text, len);
    record.user_agent = str_make(text, len);
    kept = kept_record_new(NULL, &record);
    cr_assert_not_null(kept);
    kept_record_get(kept, &again);
    expect_same_lines(&record, &again);
    kept_record_free(NULL, kept);
    free(text);
}

Test(kept_record, nothing_is_freed_as_nothing)
{
    kept_record_free(NULL, NULL);
}

#ifdef MEM_FAULTS
Test(kept_record, needs_memory)
{
    struct log_record record = sample();

    mem_fail(1, 1);
    cr_expect_null(kept_record_new(NULL, &record));
}
#endif
