// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "log/record.h"

/* 2026-11-22T17:18:05.123Z */
#define END_MS UINT64_C(1795367885123)
#define START_MS (END_MS - 4123)

static char space[RECORD_LINE_MAX + 1];
static char hostile[RECORD_LINE_MAX * 2];

static struct log_record full_record(void)
{
    return (struct log_record){
        .event = "request",
        .end_wall_ms = END_MS,
        .start_wall_ms = START_MS,
        .id = STR("5f0c2a91-7"),
        .client = addr_ip4(10, 0, 0, 5, 41234),
        .user = STR("ann"),
        .listener = STR("lan"),
        .method = STR("GET"),
        .target = STR("http://example.com/a"),
        .version = STR("HTTP/1.1"),
        .status = 200,
        .rule = STR("office"),
        .would_deny = STR("strict,new"),
        .route = STR("direct"),
        .upstream = addr_ip4(93, 184, 216, 34, 80),
        .reused = true,
        .bytes_in = 120,
        .bytes_out = 16464,
        .dns_ms = 0,
        .connect_ms = 12,
        .wait_ms = 30,
        .total_ms = 4123,
        .end = STR("complete"),
        .referer = STR("http://ref.example/"),
        .user_agent = STR("curl/8.1 (a \"b\")"),
        .content_type = STR("text/html; charset=utf-8"),
        .body_bytes_out = 16000,
    };
}

/* Bytes came that were no request. */
static struct log_record empty_record(void)
{
    return (struct log_record){
        .event = "request",
        .end_wall_ms = END_MS,
        .start_wall_ms = START_MS,
        .dns_ms = RECORD_MS_NONE,
        .connect_ms = RECORD_MS_NONE,
        .wait_ms = RECORD_MS_NONE,
        .total_ms = RECORD_MS_NONE,
    };
}

static struct str line_of(enum log_format format, const struct log_record *record)
{
    struct text out = text_over(space, RECORD_LINE_MAX);

    log_record_put(&out, format, record);
    cr_assert_not(out.full);
    space[out.len] = '\0';
    return text_str(&out);
}

static void check(enum log_format format, const struct log_record *record, const char *want)
{
    (void)line_of(format, record);
    cr_assert_str_eq(space, want);
}

Test(record, logfmt_golden_line)
{
    struct log_record record = full_record();

    check(LOG_FORMAT_LOGFMT, &record,
          "time=2026-11-22T17:18:05.123Z event=request id=5f0c2a91-7 client=10.0.0.5 user=ann "
          "listener=lan method=GET target=http://example.com/a version=HTTP/1.1 status=200 "
          "rule=office would_deny=strict,new route=direct upstream=93.184.216.34:80 reused=yes "
          "bytes_in=120 bytes_out=16464 dns_ms=0 connect_ms=12 wait_ms=30 total_ms=4123 "
          "end=complete\n");
}

Test(record, logfmt_dashes_what_does_not_apply)
{
    struct log_record record = empty_record();

    check(LOG_FORMAT_LOGFMT, &record,
          "time=2026-11-22T17:18:05.123Z event=request id=- client=- user=- listener=- method=- "
          "target=- version=- status=- rule=- would_deny=- route=- upstream=- reused=- bytes_in=0 "
          "bytes_out=0 dns_ms=- connect_ms=- wait_ms=- total_ms=- end=-\n");
}

Test(record, json_golden_line)
{
    struct log_record record = full_record();

    record.reused = false;
    check(LOG_FORMAT_JSON, &record,
          "{\"time\":\"2026-11-22T17:18:05.123Z\",\"event\":\"request\",\"id\":\"5f0c2a91-7\","
          "\"client\":\"10.0.0.5\",\"user\":\"ann\",\"listener\":\"lan\",\"method\":\"GET\","
          "\"target\":\"http://example.com/a\",\"version\":\"HTTP/1.1\",\"status\":200,"
          "\"rule\":\"office\",\"would_deny\":\"strict,new\",\"route\":\"direct\","
          "\"upstream\":\"93.184.216.34:80\",\"reused\":false,\"bytes_in\":120,"
          "\"bytes_out\":16464,\"dns_ms\":0,\"connect_ms\":12,\"wait_ms\":30,\"total_ms\":4123,"
          "\"end\":\"complete\"}\n");
}

Test(record, json_nulls_what_does_not_apply)
{
    struct log_record record = empty_record();

    check(LOG_FORMAT_JSON, &record,
          "{\"time\":\"2026-11-22T17:18:05.123Z\",\"event\":\"request\",\"id\":null,"
          "\"client\":null,\"user\":null,\"listener\":null,\"method\":null,\"target\":null,"
          "\"version\":null,\"status\":null,\"rule\":null,\"would_deny\":null,\"route\":null,"
          "\"upstream\":null,\"reused\":null,\"bytes_in\":0,\"bytes_out\":0,\"dns_ms\":null,"
          "\"connect_ms\":null,\"wait_ms\":null,\"total_ms\":null,\"end\":null}\n");
}

Test(record, opening_of_a_tunnel_leaves_out_what_is_not_known_yet)
{
    struct log_record record = full_record();

    record.event = "tunnel";
    record.method = STR("CONNECT");
    record.target = STR("example.com:443");
    record.is_connect = true;
    check(LOG_FORMAT_LOGFMT, &record,
          "time=2026-11-22T17:18:05.123Z event=tunnel id=5f0c2a91-7 client=10.0.0.5 user=ann "
          "listener=lan method=CONNECT target=example.com:443 version=HTTP/1.1 status=200 "
          "rule=office would_deny=strict,new route=direct upstream=93.184.216.34:80 reused=yes\n");
    check(LOG_FORMAT_JSON, &record,
          "{\"time\":\"2026-11-22T17:18:05.123Z\",\"event\":\"tunnel\",\"id\":\"5f0c2a91-7\","
          "\"client\":\"10.0.0.5\",\"user\":\"ann\",\"listener\":\"lan\",\"method\":\"CONNECT\","
          "\"target\":\"example.com:443\",\"version\":\"HTTP/1.1\",\"status\":200,"
          "\"rule\":\"office\",\"would_deny\":\"strict,new\",\"route\":\"direct\","
          "\"upstream\":\"93.184.216.34:80\",\"reused\":true}\n");
    /* There it would read as a second request. */
    check(LOG_FORMAT_COMBINED, &record, "");
    check(LOG_FORMAT_COMMON, &record, "");
    check(LOG_FORMAT_SQUID, &record, "");
}

Test(record, combined_and_common_golden_lines)
{
    struct log_record record = full_record();

    check(LOG_FORMAT_COMBINED, &record,
          "10.0.0.5 - ann [22/Nov/2026:17:18:01 +0000] \"GET http://example.com/a HTTP/1.1\" 200 "
          "16000 \"http://ref.example/\" \"curl/8.1 (a \\\"b\\\")\"\n");
    check(LOG_FORMAT_COMMON, &record,
          "10.0.0.5 - ann [22/Nov/2026:17:18:01 +0000] \"GET http://example.com/a HTTP/1.1\" 200 "
          "16000\n");
}

Test(record, combined_dashes_what_does_not_apply)
{
    struct log_record record = empty_record();

    record.client = (struct addr){.kind = ADDR_UNIX, .uid = 1000};
    check(LOG_FORMAT_COMBINED, &record,
          "unix:1000 - - [22/Nov/2026:17:18:01 +0000] \"-\" - 0 \"-\" \"-\"\n");
    record.method = STR("GET");
    record.target = STR("http://a/");
    record.status = 505;
    check(LOG_FORMAT_COMMON, &record,
          "unix:1000 - - [22/Nov/2026:17:18:01 +0000] \"GET http://a/\" 505 0\n");
}

Test(record, combined_cannot_be_injected_into)
{
    struct log_record record = full_record();

    record.user = STR("a [x] \"");
    record.method = STR("GET\"");
    record.target = STR("http://a/ HTTP/1.1\" 200 1\n10.0.0.9 - -");
    record.referer = STR("\" 200\r\n\\");
    record.user_agent = STR("\x1b[2J\xe2\x80\xa8");
    check(LOG_FORMAT_COMBINED, &record,
          "10.0.0.5 - a\\x20\\x5bx]\\x20\\\" [22/Nov/2026:17:18:01 +0000] \"GET\\\" "
          "http://a/\\x20HTTP/1.1\\\"\\x20200\\x201\\n10.0.0.9\\x20-\\x20- HTTP/1.1\" 200 16000 "
          "\"\\\" 200\\r\\n\\\\\" \"\\x1b[2J\\xe2\\x80\\xa8\"\n");
}

Test(record, squid_golden_lines)
{
    struct log_record record = full_record();

    check(LOG_FORMAT_SQUID, &record,
          "1795367885.123   4123 10.0.0.5 TCP_MISS/200 16464 GET http://example.com/a ann "
          "HIER_DIRECT/93.184.216.34 text/html\n");
    record.is_connect = true;
    record.method = STR("CONNECT");
    record.target = STR("example.com:443");
    record.user = STR("");
    record.content_type = STR("");
    record.total_ms = 1234567;
    record.end_wall_ms = 5;
    check(LOG_FORMAT_SQUID, &record,
          "        0.005 1234567 10.0.0.5 TCP_TUNNEL/200 16464 CONNECT example.com:443 - "
          "HIER_DIRECT/93.184.216.34 -\n");
}

Test(record, squid_tags_what_never_left)
{
    struct log_record record = full_record();
    struct log_record unread = empty_record();

    record.upstream = (struct addr){.kind = ADDR_NONE};
    record.is_connect = true;
    record.status = 403;
    record.end = STR("denied");
    check(LOG_FORMAT_SQUID, &record,
          "1795367885.123   4123 10.0.0.5 TCP_DENIED/403 16464 GET http://example.com/a ann "
          "HIER_NONE/- text/html\n");
    record.status = 502;
    record.end = STR("error:dns");
    check(LOG_FORMAT_SQUID, &record,
          "1795367885.123   4123 10.0.0.5 NONE/502 16464 GET http://example.com/a ann "
          "HIER_NONE/- text/html\n");
    check(LOG_FORMAT_SQUID, &unread,
          "1795367885.123      0 - NONE/000 0 NONE error:invalid-request - HIER_NONE/- -\n");
}

Test(record, squid_cannot_be_injected_into)
{
    struct log_record record = full_record();

    record.user = STR("a b\n");
    record.target = STR("http://a/ b\r\n1 2");
    record.content_type = STR("text/\nhtml x");
    check(LOG_FORMAT_SQUID, &record,
          "1795367885.123   4123 10.0.0.5 TCP_MISS/200 16464 GET http://a/%20b%0D%0A1%202 a%20b%0A "
          "HIER_DIRECT/93.184.216.34 text/%0Ahtml\n");
}

Test(record, logfmt_and_json_cannot_be_injected_into)
{
    struct log_record record = empty_record();

    record.user = STR("- rule=allowed");
    record.method = STR("-");
    record.target = STR("http://a/\"\n{\"event\":\"request\"}\n");
    record.end = STR("null");
    check(LOG_FORMAT_LOGFMT, &record,
          "time=2026-11-22T17:18:05.123Z event=request id=- client=- user=\"- rule=allowed\" "
          "listener=- method=\"-\" target=\"http://a/\\\"\\n{\\\"event\\\":\\\"request\\\"}\\n\" "
          "version=- status=- rule=- would_deny=- route=- upstream=- reused=- bytes_in=0 "
          "bytes_out=0 dns_ms=- connect_ms=- wait_ms=- total_ms=- end=null\n");
    (void)line_of(LOG_FORMAT_JSON, &record);
    cr_assert_not_null(
        strstr(space, "\"target\":\"http://a/\\\"\\n{\\\"event\\\":\\\"request\\\"}\\n\","));
    cr_assert_not_null(strstr(space, "\"end\":\"null\"}\n"));
}

Test(record, ipv6_upstream_has_brackets_only_with_its_port)
{
    struct log_record record = full_record();

    cr_assert(addr_parse_ip(STR("2001:db8::1"), &record.upstream));
    record.upstream.port = 443;
    (void)line_of(LOG_FORMAT_LOGFMT, &record);
    cr_assert_not_null(strstr(space, " upstream=[2001:db8::1]:443 "));
    (void)line_of(LOG_FORMAT_SQUID, &record);
    cr_assert_not_null(strstr(space, " HIER_DIRECT/2001:db8::1 "));
}

/* Every value of a hostile length, made of one byte over and over. */
static struct log_record long_record(char byte)
{
    struct log_record record = full_record();
    struct str s = str_make(hostile, sizeof(hostile));

    memset(hostile, byte, sizeof(hostile));
    record.id = record.user = record.listener = record.method = record.target = s;
    record.version = record.rule = record.would_deny = record.route = record.end = s;
    record.referer = record.user_agent = record.content_type = s;
    record.status = UINT32_MAX;
    record.bytes_in = record.bytes_out = record.body_bytes_out = UINT64_MAX;
    record.dns_ms = record.connect_ms = record.wait_ms = record.total_ms = UINT32_MAX - 1;
    return record;
}

Test(record, longest_line_fits_in_every_format)
{
    static const char bytes[] = {'a', '"', '\0', ' ', '\x1b', '\xff', '\\', '%'};

    for (size_t i = 0; i < sizeof(bytes); i++) {
        struct log_record record = long_record(bytes[i]);

        for (int format = LOG_FORMAT_LOGFMT; format < LOG_FORMAT_OFF; format++) {
            struct str line = line_of((enum log_format)format, &record);

            cr_assert(line.len > 32 * 1024);
            cr_assert_eq(str_find(line, '\n'), line.len - 1, "one line, and a whole one");
        }
    }
}

Test(record, long_target_is_cut_and_the_rest_stays)
{
    struct log_record record = full_record();

    memset(hostile, '"', sizeof(hostile));
    record.target = str_make(hostile, 20000);
    (void)line_of(LOG_FORMAT_JSON, &record);
    cr_assert_not_null(strstr(space, "\\\"...\",\"version\":\"HTTP/1.1\""));
    (void)line_of(LOG_FORMAT_LOGFMT, &record);
    cr_assert_not_null(strstr(space, "\\\"...\" version=HTTP/1.1"));
    (void)line_of(LOG_FORMAT_COMMON, &record);
    cr_assert_not_null(strstr(space, "\\\"... HTTP/1.1\" 200"));
    record.target = str_make(hostile, 16384);
    (void)line_of(LOG_FORMAT_JSON, &record);
    cr_assert_null(strstr(space, "..."), "16K of quotes are 32K and fit");
}

Test(record, appends_all_or_nothing)
{
    struct log_record record = full_record();
    struct str line = line_of(LOG_FORMAT_LOGFMT, &record);
    char room[512];
    struct text out = text_over(room, line.len + 3);

    text_put(&out, STR("abcd"));
    log_record_put(&out, LOG_FORMAT_LOGFMT, &record);
    cr_assert(out.full);
    cr_assert(str_eq(text_str(&out), STR("abcd")));

    out = text_over(room, line.len + 4);
    text_put(&out, STR("abcd"));
    log_record_put(&out, LOG_FORMAT_LOGFMT, &record);
    cr_assert_not(out.full);
    cr_assert(str_eq(str_from(text_str(&out), 4), line));
}

Test(record, off_appends_nothing)
{
    struct log_record record = full_record();

    check(LOG_FORMAT_OFF, &record, "");
}
