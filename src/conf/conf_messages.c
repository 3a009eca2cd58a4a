// SPDX-License-Identifier: MIT
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "log/escape.h"

#define MESSAGE_TEXT_MAX (CONF_ORIGIN_TEXT_MAX + 1024) /* longer ones are cut */
#define MESSAGES_MAX 1000 /* of a kind: of a file that is no configuration each line is wrong */

void conf_origin_put(struct text *out, struct conf_origin origin)
{
    if (!origin.file) {
        text_puts(out, "built-in");
        return;
    }
    text_puts(out, origin.file);
    if (origin.line > 0) {
        text_char(out, strcmp(origin.file, CONF_OPTION_FILE) == 0 ? ' ' : ':');
        text_u64(out, origin.line);
    }
}

/* Text and file name in one piece, so that the message outlives the configuration. It is one line,
 * and what a stranger's list holds does not rule the terminal. */
static bool fill(struct conf_message *message, const char *text, struct conf_origin origin)
{
    size_t text_size = strlen(text) + 1;
    size_t file_size = origin.file ? strlen(origin.file) + 1 : 0;
    char *copy = mem_alloc(text_size + file_size);

    if (!copy) {
        return false;
    }
    memcpy(copy, text, text_size);
    escape_blank(copy);
    message->text = copy;
    if (origin.file) {
        memcpy(copy + text_size, origin.file, file_size);
        escape_blank(copy + text_size);
        message->origin.file = copy + text_size;
    }
    message->origin.line = origin.line;
    return true;
}

static bool is_same_file(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What the messages of that file are sorted by: the number of the first one. */
static size_t find_file(const struct conf_messages *messages, const char *file)
{
    for (size_t i = messages->count; i > 0; i--) {
        if (is_same_file(messages->items[i - 1].origin.file, file)) {
            return messages->items[i - 1].file;
        }
    }
    return messages->count;
}

static void keep(struct conf_messages *messages, bool is_warning, struct conf_origin origin,
                 const char *text)
{
    struct conf_message message = {.is_warning = is_warning};
    struct conf_message *items =
        mem_realloc_array(messages->items, messages->count + 1, sizeof(*items));

    if (!items) {
        return;
    }
    messages->items = items;
    if (fill(&message, text, origin)) {
        message.number = messages->count;
        message.file = find_file(messages, message.origin.file);
        items[messages->count++] = message;
    }
}

/* When memory is out the text is lost, but never that there was an error. */
void conf_messages_add(struct conf_messages *messages, bool is_warning, struct conf_origin origin,
                       const char *fmt, ...)
{
    size_t number = is_warning ? ++messages->warning_count : ++messages->error_count;
    char text[MESSAGE_TEXT_MAX];
    va_list args;

    if (number <= MESSAGES_MAX) {
        va_start(args, fmt);
        (void)vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        keep(messages, is_warning, origin, text);
    } else if (number == MESSAGES_MAX + 1) {
        (void)snprintf(text, sizeof(text), "there are more %s; the first %d are told",
                       is_warning ? "of them" : "errors", MESSAGES_MAX);
        keep(messages, is_warning, origin, text);
    }
}

static int compare_sizes(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int compare(const void *a, const void *b)
{
    const struct conf_message *x = a;
    const struct conf_message *y = b;
    int order = compare_sizes(x->file, y->file);

    /* What is said of a file as a whole sums up, and stands behind: 0 - 1 is more than any line. */
    if (order == 0) {
        order = compare_sizes(x->origin.line - 1U, y->origin.line - 1U);
    }
    return order != 0 ? order : compare_sizes(x->number, y->number);
}

void conf_messages_sort(struct conf_messages *messages)
{
    if (messages->count > 1) {
        qsort(messages->items, messages->count, sizeof(*messages->items), compare);
    }
}

void conf_messages_reading(const struct conf_messages *messages, const char *path)
{
    if (messages->reading) {
        messages->reading(messages->arg, path);
    }
}

void conf_messages_deinit(struct conf_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) {
        mem_free(messages->items[i].text);
    }
    mem_free(messages->items);
    *messages = (struct conf_messages){0};
}

void conf_message_format(const struct conf_message *message, char *buf, size_t cap)
{
    char origin_buf[CONF_ORIGIN_TEXT_MAX];
    struct text origin = TEXT_OVER(origin_buf);

    ASSERT(cap > 0);
    conf_origin_put(&origin, message->origin);
    (void)snprintf(buf, cap, "%s: %s%s", text_cstr(&origin), message->is_warning ? "warning: " : "",
                   message->text);
}
