// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/event_line.h"
#include "log/log.h"
#include "log/writer.h"

#define WALL_MS UINT64_C(1795367885123) /* 2026-11-22T17:18:05.123Z */

static char seen[64 * 1024];
static char long_text[16 * 1024];
static int stderr_pipe[2];
static int kept_stderr;

static const char *line_of(bool json, const struct log_field *fields, size_t count, const char *msg)
{
    struct text out = text_over(seen, EVENT_LINE_MAX + 1);

    event_line_put(&out, json, WALL_MS, LOG_WARNING, "parent", fields, count, str_of(msg));
    cr_assert_not(out.full);
    cr_assert(out.len <= EVENT_LINE_MAX);
    return text_cstr(&out);
}

static const char *plain_line_of(const struct log_field *fields, size_t count, const char *msg)
{
    struct text out = text_over(seen, EVENT_LINE_MAX + 1);

    event_line_put_plain(&out, LOG_WARNING, "parent", fields, count, str_of(msg));
    cr_assert_not(out.full);
    cr_assert(out.len <= EVENT_LINE_MAX);
    return text_cstr(&out);
}

Test(log, golden_lines)
{
    struct log_field fields[] = {LOG_TEXT("name", STR("h q")), LOG_NUM("failures", 3)};

    cr_assert_str_eq(line_of(false, fields, 2, "passed over"),
                     "time=2026-11-22T17:18:05.123Z event=parent level=warning name=\"h q\" "
                     "failures=3 msg=\"passed over\"\n");
    cr_assert_str_eq(line_of(true, fields, 2, "passed over"),
                     "{\"time\":\"2026-11-22T17:18:05.123Z\",\"event\":\"parent\","
                     "\"level\":\"warning\",\"name\":\"h q\",\"failures\":3,"
                     "\"msg\":\"passed over\"}\n");
    cr_assert_str_eq(plain_line_of(fields, 2, "passed over"),
                     "viaduct: warning: passed over (name=\"h q\" failures=3)\n");
}

Test(log, message_may_be_missing)
{
    cr_assert_str_eq(line_of(false, NULL, 0, NULL),
                     "time=2026-11-22T17:18:05.123Z event=parent level=warning\n");
    cr_assert_str_eq(line_of(true, NULL, 0, NULL),
                     "{\"time\":\"2026-11-22T17:18:05.123Z\",\"event\":\"parent\","
                     "\"level\":\"warning\"}\n");
    cr_assert_str_eq(plain_line_of(NULL, 0, NULL), "viaduct: warning: parent\n");
}

Test(log, cannot_be_injected_into)
{
    struct log_field field = LOG_TEXT("host", STR("a\" level=error\n\x1b[m\xe2\x80\xae"));

    cr_assert_str_eq(line_of(false, &field, 1, "b\"\nc"),
                     "time=2026-11-22T17:18:05.123Z event=parent level=warning "
                     "host=\"a\\\" level=error\\n\\u001b[m\\u202e\" msg=\"b\\\"\\nc\"\n");
    cr_assert_str_eq(line_of(true, &field, 1, "b\"\nc"),
                     "{\"time\":\"2026-11-22T17:18:05.123Z\",\"event\":\"parent\","
                     "\"level\":\"warning\",\"host\":\"a\\\" level=error\\n\\u001b[m\\u202e\","
                     "\"msg\":\"b\\\"\\nc\"}\n");
    cr_assert_str_eq(plain_line_of(&field, 1, "b\"\nc"),
                     "viaduct: warning: b\"\\nc "
                     "(host=\"a\\\" level=error\\n\\u001b[m\\u202e\")\n");
}

Test(log, longest_line_is_whole)
{
    struct log_field fields[20];
    const char *line;

    memset(long_text, 1, sizeof(long_text) - 1);
    for (size_t i = 0; i < 20; i++) {
        fields[i] = LOG_TEXT("key", str_of(long_text));
    }
    line = line_of(true, fields, 20, long_text);
    cr_assert_str_eq(line + strlen(line) - 6, "...\"}\n");
    line = line_of(false, fields, 20, long_text);
    cr_assert_str_eq(line + strlen(line) - 5, "...\"\n");
    line = plain_line_of(fields, 20, long_text);
    cr_assert_str_eq(line + strlen(line) - 6, "...\")\n");
}

/* Everything goes to the pipe until the test ends. */
static void catch_stderr(void)
{
    cr_assert_eq(pipe2(stderr_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    kept_stderr = dup(STDERR_FILENO);
    cr_assert_eq(dup2(stderr_pipe[1], STDERR_FILENO), STDERR_FILENO);
}

static const char *caught(void)
{
    ssize_t len = read(stderr_pipe[0], seen, sizeof(seen) - 1);

    cr_assert_eq(dup2(kept_stderr, STDERR_FILENO), STDERR_FILENO);
    seen[len > 0 ? len : 0] = '\0';
    return seen;
}

Test(log, goes_to_stderr_before_it_is_started)
{
    catch_stderr();
    log_event(LOG_NOTICE, "start", "using %s", "the defaults");
    log_event(LOG_DEBUG, "start", "not shown");
    cr_assert_str_eq(caught(), "viaduct: notice: using the defaults\n");
}

/* Of a path so long what stands around it is what one wants to read. */
Test(log, long_message_is_cut_in_its_middle)
{
    static const char *const letters[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x9a\x97"};

    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        struct text path = text_over(long_text, 4000);
        const char *line;

        while (!path.full) {
            text_puts(&path, letters[i]);
        }
        path.full = false;
        catch_stderr();
        log_event(LOG_ERROR, "start", "read %s:7: it is wrong", text_cstr(&path));
        line = caught();
        cr_assert(strlen(line) > 1000 && strlen(line) < 1100, "%zu", strlen(line));
        cr_assert_eq(strncmp(line, "viaduct: error: read ", 21), 0);
        cr_assert_str_eq(line + strlen(line) - 16, ":7: it is wrong\n");
        cr_assert(strstr(line, "..."));
        cr_assert_not(strstr(line, "\\x"), "a character is cut");
    }
}

Test(log, level_decides)
{
    log_start(NULL, LOG_WARNING, false);
    cr_assert(log_enabled(LOG_ERROR));
    cr_assert(log_enabled(LOG_WARNING));
    cr_assert_not(log_enabled(LOG_NOTICE));
    log_start(NULL, LOG_DEBUG, false);
    cr_assert(log_enabled(LOG_DEBUG));
}

/* What two events leave in a file; the message is left out of the first. */
static void log_to_file(bool json)
{
    char path[] = "/tmp/viaduct-log-XXXXXX";
    struct log_writer_options options = {.path = path, .buffer_bytes = 64 * 1024, .json = json};
    struct log_field field = LOG_NUM("workers", 2);
    struct log_writer *writer = NULL;
    int fd = mkstemp(path);
    ssize_t len;

    cr_assert_eq(log_writer_new(&options, &writer), 0);
    log_start(writer, LOG_INFO, json);
    log_fields(LOG_INFO, "start", &field, 1, NULL);
    log_event(LOG_ERROR, "stop", "now");
    log_event(LOG_DEBUG, "stop", "not shown");
    log_start(NULL, LOG_INFO, json);
    log_writer_stop(writer, 5000);
    len = read(fd, seen, sizeof(seen) - 1);
    cr_assert(len > 0);
    seen[len] = '\0';
    (void)close(fd);
    (void)unlink(path);
}

Test(log, goes_through_the_writer_once_started)
{
    log_to_file(false);
    cr_assert(str_starts(str_of(seen), STR("time=20")));
    cr_assert_not_null(strstr(seen, "Z event=start level=info workers=2\ntime="));
    cr_assert_not_null(strstr(seen, "Z event=stop level=error msg=\"now\"\n"));
    cr_assert_null(strstr(seen, "not shown"));
}

Test(log, writes_json_where_the_access_log_does)
{
    log_to_file(true);
    cr_assert(str_starts(str_of(seen), STR("{\"time\":\"20")));
    cr_assert_not_null(strstr(seen, "\"event\":\"start\",\"level\":\"info\",\"workers\":2}\n{"));
    cr_assert_not_null(strstr(seen, "\"level\":\"error\",\"msg\":\"now\"}\n"));
}
