// SPDX-License-Identifier: MIT

/*
 * The adapter for inih, as distributions build it: lines of 200 bytes whose
 * rest is read as a line of its own, names cut at 49 bytes without a word,
 * indented lines that continue the one before, ':' as good as '=', no line
 * numbers, no call for a section without keys, and anything allowed behind
 * a ']'. So inih reads no file. Our reader takes the text line by line,
 * counts, checks, and hands inih each line in a normal form that is short
 * and leaves nothing to its options: "[name]" or "key=". A value never
 * passes through inih; it waits in the reader until inih calls back for its
 * key, so that it may be as long as a line may be. After a section's header
 * inih gets the line "=", a pair without a key, so that it calls for the
 * section too.
 */
#include "conf/conf_parse.h"

#include <errno.h>
#include <ini.h>
#include <string.h>

#include "base/err.h"
#include "conf/conf.h"

struct reader {
    struct str rest; /* of the text */
    unsigned line;   /* number of the line taken last */
    struct str value;
    bool announce_section; /* inih has the header; now it gets the "=" */
    bool skip_pairs;       /* the header of this section was wrong */
    const struct conf_parse_events *events;
    void *arg;
};

const char *conf_library_version(void)
{
#ifdef INIH_VERSION
    return "inih " INIH_VERSION;
#else
    return "inih";
#endif
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts the next line off the text, without LF or CRLF. */
static struct str take_line(struct reader *reader)
{
    size_t end = str_find(reader->rest, '\n');
    struct str line = str_head(reader->rest, end);

    reader->rest = str_from(reader->rest, end + 1);
    reader->line++;
    if (str_ends(line, STR("\r"))) {
        line.len--;
    }
    return line;
}

/* Without a comment and without blanks around; a comment begins the line, or follows a blank and is
 * then ';' alone, because '#' stands in values. */
static struct str strip(struct str line)
{
    struct str stripped = str_trim(line);

    if (str_starts(stripped, STR("#"))) {
        return str_head(stripped, 0);
    }
    for (size_t i = 0; i < stripped.len; i++) {
        if (stripped.ptr[i] == ';' && (i == 0 || is_blank(stripped.ptr[i - 1]))) {
            return str_trim(str_head(stripped, i));
        }
    }
    return stripped;
}

/* Why a line can be read by nobody, or NULL. content is the line stripped. */
static const char *line_fault(struct str line, struct str content)
{
    if (line.len > CONF_LINE_MAX) {
        return "the line is longer than 64K";
    }
    if (str_has(line, '\0')) {
        return "the line holds a NUL byte";
    }
    for (size_t i = 0; i < content.len; i++) {
        unsigned char c = (unsigned char)content.ptr[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return "the line holds a control character";
        }
    }
    return NULL;
}

static bool is_name_char(char c)
{
    char lower = str_lower(c);

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
}

const char *conf_name_fault(struct str name, size_t max_words)
{
    size_t words = name.len > 0 ? 1 : 0;

    if (name.len > CONF_NAME_MAX) {
        return "the name is longer than 49 bytes";
    }
    for (size_t i = 0; i < name.len; i++) {
        words += name.ptr[i] == ' ';
        if (name.ptr[i] != ' ' && !is_name_char(name.ptr[i])) {
            return "a name is made of letters, digits, '-', '_' and '.'";
        }
    }
    if (words == 0) {
        return "a name is missing";
    }
    return words > max_words ? "the name has too many words" : NULL;
}

/* Writes a trimmed name with single blanks; false when it does not fit, which makes it too long for
 * a name as well. */
static bool squeeze(struct str name, char *dst, size_t cap, struct str *ret)
{
    size_t len = 0;

    for (size_t i = 0; i < name.len; i++) {
        bool blank = is_blank(name.ptr[i]);

        if (blank && len > 0 && dst[len - 1] == ' ') {
            continue;
        }
        if (len == cap) {
            return false;
        }
        dst[len++] = blank ? ' ' : name.ptr[i];
    }
    *ret = str_make(dst, len);
    return true;
}

/* "[name]" for inih, or the fault. */
static const char *normal_header(struct str content, char *dst)
{
    char name_buf[CONF_NAME_MAX + 1];
    struct str name;
    const char *fault;

    if (!str_ends(content, STR("]"))) {
        return "a section's line ends with ']'";
    }
    name = str_trim(str_make(content.ptr + 1, content.len - 2));
    if (!squeeze(name, name_buf, sizeof(name_buf), &name)) {
        return "the name is longer than 49 bytes";
    }
    fault = conf_name_fault(name, 2);
    if (!fault) {
        dst[0] = '[';
        memcpy(dst + 1, name.ptr, name.len);
        memcpy(dst + 1 + name.len, "]\n", 3);
    }
    return fault;
}

/* "key=" for inih, with the value kept, or the fault. */
static const char *normal_pair(struct reader *reader, struct str content, char *dst)
{
    struct str rest = content;
    struct str key = str_cut(&rest, '=');
    const char *fault;

    if (!rest.ptr) {
        return "neither [section] nor key = value";
    }
    fault = conf_name_fault(key, 1);
    if (!fault) {
        reader->value = str_trim(rest);
        memcpy(dst, key.ptr, key.len);
        memcpy(dst + key.len, "=\n", 3);
    }
    return fault;
}

/* Normalises the next line that has something to say into dst; false when the text is at its end.
 */
static bool next_line(struct reader *reader, char *dst)
{
    while (reader->rest.len > 0) {
        struct str line = take_line(reader);
        struct str content = strip(line);
        bool is_header = str_starts(content, STR("["));
        const char *fault = line_fault(line, content);

        if (!fault && content.len == 0) {
            continue;
        }
        if (!fault && is_header) {
            fault = normal_header(content, dst);
        } else if (!fault) {
            fault = normal_pair(reader, content, dst);
        }
        if (fault) {
            reader->events->error(reader->arg, fault, reader->line);
        }
        if (is_header) {
            reader->skip_pairs = fault;
            reader->announce_section = !fault;
        }
        if (!fault && (is_header || !reader->skip_pairs)) {
            return true;
        }
    }
    return false;
}

/* inih's reader: like fgets, size is that of dst. */
static char *read_for_inih(char *dst, int size, void *arg)
{
    struct reader *reader = arg;

    ASSERT(size > CONF_NAME_MAX + 4); /* "[name]", LF and NUL */
    if (reader->announce_section) {
        reader->announce_section = false;
        memcpy(dst, "=\n", 3);
        return dst;
    }
    return next_line(reader, dst) ? dst : NULL;
}

/* inih's handler; it is called before the next line is read. */
static int on_pair(void *arg, const char *section, const char *key, const char *value)
{
    struct reader *reader = arg;

    (void)value;
    if (key[0] == '\0') {
        reader->events->section(reader->arg, str_of(section), reader->line);
    } else {
        reader->events->pair(reader->arg, str_of(key), reader->value, reader->line);
    }
    return 1;
}

int conf_parse(struct str text, const struct conf_parse_events *events, void *arg)
{
    struct reader reader = {.rest = str_skip_bom(text), .events = events, .arg = arg};

    return ini_parse_stream(read_for_inih, &reader, on_pair, &reader) == 0 ? 0 : -EIO;
}
