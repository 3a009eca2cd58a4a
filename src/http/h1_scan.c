// SPDX-License-Identifier: MIT
#include "http/h1_scan.h"

#include <string.h>

static void scan_init(struct h1_scan *scan, enum h1_scan_state state,
                      const struct h1_limits *limits)
{
    *scan = (struct h1_scan){
        .state = state,
        .max_bytes = limits->head_bytes,
        .max_target = limits->target_bytes,
    };
}

void h1_scan_request(struct h1_scan *scan, const struct h1_limits *limits)
{
    scan_init(scan, H1_SCAN_METHOD, limits);
}

void h1_scan_response(struct h1_scan *scan, const struct h1_limits *limits)
{
    scan_init(scan, H1_SCAN_STATUS, limits);
}

void h1_scan_trailers(struct h1_scan *scan, const struct h1_limits *limits)
{
    scan_init(scan, H1_SCAN_FIELDS, limits);
}

static bool fail(struct h1_scan *scan, enum h1_error error, const char *text)
{
    scan->error = error;
    scan->text = text;
    return false;
}

static bool malformed(struct h1_scan *scan, const char *text)
{
    return fail(scan, H1_E_MALFORMED, text);
}

static void enter(struct h1_scan *scan, enum h1_scan_state state)
{
    scan->state = state;
    scan->column = 0;
}

/* What a byte of a start line may be. */
enum {
    IN_TOKEN = 1U << 0,   /* RFC 9110 5.6.2 */
    IN_VISIBLE = 1U << 1, /* VCHAR and obs-text: no blank, no control character */
    IN_TEXT = 1U << 2,    /* the same, SP and HTAB */
    IN_WORD = IN_VISIBLE | IN_TEXT,
    IN_ALL = IN_TOKEN | IN_WORD,
};

static const unsigned char kinds[256] = {
    ['\t'] = IN_TEXT,       [' '] = IN_TEXT,         ['!'] = IN_ALL,
    ['"'] = IN_WORD,        ['#' ... '\''] = IN_ALL, ['(' ... ')'] = IN_WORD,
    ['*' ... '+'] = IN_ALL, [','] = IN_WORD,         ['-' ... '.'] = IN_ALL,
    ['/'] = IN_WORD,        ['0' ... '9'] = IN_ALL,  [':' ... '@'] = IN_WORD,
    ['A' ... 'Z'] = IN_ALL, ['[' ... ']'] = IN_WORD, ['^' ... '`'] = IN_ALL,
    ['a' ... 'z'] = IN_ALL, ['{'] = IN_WORD,         ['|'] = IN_ALL,
    ['}'] = IN_WORD,        ['~'] = IN_ALL,          [0x80 ... 0xff] = IN_WORD,
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is(char c, unsigned kind)
{
    return kinds[(unsigned char)c] & kind;
}

static bool method_byte(struct h1_scan *scan, char c)
{
    if (c == ' ' && scan->column > 0) {
        enter(scan, H1_SCAN_TARGET);
        return true;
    }
    scan->column++;
    return is(c, IN_TOKEN) || malformed(scan, "The method is not a token.");
}

static bool target_byte(struct h1_scan *scan, char c)
{
    if (is(c, IN_VISIBLE)) {
        if (scan->target_bytes == scan->max_target) {
            return fail(scan, H1_E_TARGET_TOO_LONG, "The request target is too long.");
        }
        scan->target_bytes++;
        return true;
    }
    if (scan->target_bytes > 0 && (c == ' ' || c == '\r')) {
        enter(scan, c == ' ' ? H1_SCAN_VERSION : H1_SCAN_TARGET_CR);
        return true;
    }
    return malformed(scan, scan->target_bytes > 0 ? "A control character in the request target."
                                                  : "The request has no target.");
}

/* Of "HTTP/1.1": anything else with two digits in their places is another version. */
static bool version_byte(struct h1_scan *scan, char c)
{
    static const char shape[] = "HTTP/0.0";
    char want = shape[scan->column++];

    if (want != '0') {
        return c == want || malformed(scan, "The start line does not end in an HTTP version.");
    }
    scan->version[scan->column == sizeof(shape) - 1] = c;
    return is_digit(c) || malformed(scan, "The HTTP version is not two digits.");
}

static bool version_is_ours(struct h1_scan *scan)
{
    return (scan->version[0] == '1' && (scan->version[1] == '0' || scan->version[1] == '1')) ||
           fail(scan, H1_E_VERSION, "The message is neither HTTP/1.1 nor HTTP/1.0.");
}

#define VERSION_BYTES (sizeof("HTTP/1.1") - 1)
#define REQUEST_LINE_END " HTTP/1.1\r\n"

static bool request_version_byte(struct h1_scan *scan, char c)
{
    if (scan->column < VERSION_BYTES) {
        return version_byte(scan, c);
    }
    if (c != '\r') {
        return malformed(scan, "The request line does not end after its version.");
    }
    enter(scan, H1_SCAN_LF);
    return version_is_ours(scan);
}

/* "HTTP/1.1 200", then a CR or a blank and the reason phrase (RFC 9112 4). */
static bool status_byte(struct h1_scan *scan, char c)
{
    size_t column = scan->column;

    if (column < VERSION_BYTES) {
        return version_byte(scan, c);
    }
    scan->column++;
    if (column == VERSION_BYTES) {
        return c == ' ' ? version_is_ours(scan)
                        : malformed(scan, "No blank after the response's version.");
    }
    if (column == VERSION_BYTES + 1) {
        return (c >= '1' && c <= '5') || malformed(scan, "The status is not 100 to 599.");
    }
    if (column <= VERSION_BYTES + 3) {
        return is_digit(c) || malformed(scan, "The status is not three digits.");
    }
    enter(scan, c == '\r' ? H1_SCAN_LF : H1_SCAN_REASON);
    return c == ' ' || c == '\r' || malformed(scan, "The status is not three digits.");
}

static bool reason_byte(struct h1_scan *scan, char c)
{
    if (c == '\r') {
        enter(scan, H1_SCAN_LF);
        return true;
    }
    return is(c, IN_TEXT) || malformed(scan, "A control character in the reason phrase.");
}

static bool lf_byte(struct h1_scan *scan, char c)
{
    if (c != '\n') {
        return malformed(scan, "A CR that does not end a line.");
    }
    if (scan->state == H1_SCAN_TARGET_CR) {
        return fail(scan, H1_E_VERSION, "The request line has no HTTP version.");
    }
    enter(scan, H1_SCAN_FIELDS);
    return true;
}

static bool start_line_byte(struct h1_scan *scan, char c)
{
    switch (scan->state) {
    case H1_SCAN_METHOD:
        return method_byte(scan, c);
    case H1_SCAN_TARGET:
        return target_byte(scan, c);
    case H1_SCAN_VERSION:
        return request_version_byte(scan, c);
    case H1_SCAN_STATUS:
        return status_byte(scan, c);
    case H1_SCAN_REASON:
        return reason_byte(scan, c);
    case H1_SCAN_TARGET_CR:
    case H1_SCAN_LF:
    case H1_SCAN_FIELDS:
        break;
    }
    return lf_byte(scan, c);
}

static size_t run_of(const char *data, size_t len, unsigned kind)
{
    size_t run = 0;

    while (run < len && is(data[run], kind)) {
        run++;
    }
    return run;
}

/* Length of a request line of the usual kind that is here whole, as start_line_byte would take it
 * byte by byte; 0 for every other. */
static size_t plain_request_line(struct h1_scan *scan, const char *data, size_t len)
{
    size_t method = run_of(data, len, IN_TOKEN);
    size_t target;

    if (method == 0 || method == len || data[method] != ' ') {
        return 0;
    }
    data += method + 1;
    len -= method + 1;
    target = run_of(data, MIN(len, scan->max_target), IN_VISIBLE);
    if (target == 0 || len - target < sizeof(REQUEST_LINE_END) - 1 ||
        memcmp(data + target, REQUEST_LINE_END, sizeof(REQUEST_LINE_END) - 1) != 0) {
        return 0;
    }
    scan->target_bytes = target;
    return method + 1 + target + sizeof(REQUEST_LINE_END) - 1;
}

/* The same of a status line. */
static size_t plain_status_line(const char *data, size_t len)
{
    size_t at = VERSION_BYTES + sizeof(" 200 ") - 1;

    if (len < at || memcmp(data, "HTTP/1.1 ", VERSION_BYTES + 1) != 0 || data[at - 1] != ' ' ||
        data[at - 4] < '1' || data[at - 4] > '5' || !is_digit(data[at - 3]) ||
        !is_digit(data[at - 2])) {
        return 0;
    }
    at += run_of(data + at, len - at, IN_TEXT);
    return len - at >= 2 && data[at] == '\r' && data[at + 1] == '\n' ? at + 2 : 0;
}

/* A start line that is here whole and of the usual kind; 0: it is to be looked at byte by byte. */
static size_t plain_start_line(struct h1_scan *scan, const char *data, size_t len)
{
    size_t line = scan->state == H1_SCAN_METHOD ? plain_request_line(scan, data, len)
                                                : plain_status_line(data, len);

    if (line > 0) {
        memcpy(scan->version, "11", sizeof(scan->version));
        enter(scan, H1_SCAN_FIELDS);
    }
    return line;
}

/* One field line, or as much of it as there is; *ret_done: it was the blank one. */
static bool field_line(struct h1_scan *scan, const char *data, size_t len, size_t *ret_taken,
                       bool *ret_done)
{
    const char *lf = memchr(data, '\n', len);
    size_t before = lf ? (size_t)(lf - data) : len; /* bytes in front of the LF */
    size_t column = scan->column + before;

    if (!lf) {
        scan->column = column;
        scan->last = data[len - 1];
        *ret_taken = len;
        return true;
    }
    *ret_taken = before;
    if (column == 0 || (before > 0 ? lf[-1] : scan->last) != '\r') {
        return malformed(scan, "A line ends in LF without CR.");
    }
    *ret_taken = before + 1;
    *ret_done = column == 1;
    scan->column = 0;
    return true;
}

enum h1_scan_result h1_scan_next(struct h1_scan *scan, const char *data, size_t len,
                                 size_t *ret_scanned)
{
    size_t end = MIN(len, scan->max_bytes - scan->bytes);
    size_t pos = 0;
    bool good = true;
    bool done = false;

    if (scan->bytes == 0 && scan->state != H1_SCAN_FIELDS) {
        pos = plain_start_line(scan, data, end);
    }
    while (good && pos < end && scan->state != H1_SCAN_FIELDS) {
        good = start_line_byte(scan, data[pos]);
        pos += good;
    }
    while (good && pos < end && !done) {
        size_t taken = 0;

        good = field_line(scan, data + pos, end - pos, &taken, &done);
        pos += taken;
    }
    scan->bytes += pos;
    *ret_scanned = pos;
    if (good && !done && scan->bytes == scan->max_bytes) {
        good = fail(scan, H1_E_HEAD_TOO_LARGE, "The header section is too large.");
    }
    if (!good) {
        return H1_SCAN_FAILED;
    }
    return done ? H1_SCAN_DONE : H1_SCAN_MORE;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

size_t h1_scan_strip_blanks(char *section, size_t len, bool skip_line)
{
    size_t out = 0;

    for (size_t pos = 0; pos < len;) {
        char *line = section + pos;
        const char *lf = memchr(line, '\n', len - pos);
        size_t line_len = lf ? (size_t)(lf - line) + 1 : len - pos;
        const char *colon = memchr(line, ':', line_len);
        size_t name = colon ? (size_t)(colon - line) : 0;
        size_t rest = name;

        if (!(skip_line && pos == 0)) {
            while (name > 0 && is_blank(line[name - 1])) {
                name--;
            }
        }
        if (out != pos) {
            memmove(section + out, line, name);
        }
        out += name;
        if (out != pos + rest) {
            memmove(section + out, line + rest, line_len - rest);
        }
        out += line_len - rest;
        pos += line_len;
    }
    return out;
}
