// SPDX-License-Identifier: MIT
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/conf.h"

#define MESSAGE_TEXT_MAX 1024 /* longer ones are cut */

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

/* A message is one line, whatever the names in it hold. */
static void blank_controls(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

/* Text and file name in one piece, so that the message outlives the configuration. */
static bool fill(struct conf_message *message, const char *text, struct conf_origin origin)
{
    size_t text_size = strlen(text) + 1;
    size_t file_size = origin.file ? strlen(origin.file) + 1 : 0;
    char *copy = mem_alloc(text_size + file_size);

    if (!copy) {
        return false;
    }
    memcpy(copy, text, text_size);
    blank_controls(copy);
    message->text = copy;
    if (origin.file) {
        memcpy(copy + text_size, origin.file, file_size);
        blank_controls(copy + text_size);
        message->origin.file = copy + text_size;
    }
    message->origin.line = origin.line;
    return true;
}

/* When memory is out the text is lost, but never that there was an error. */
void conf_messages_add(struct conf_messages *messages, bool is_warning, struct conf_origin origin,
                       const char *fmt, ...)
{
    char text[MESSAGE_TEXT_MAX];
    struct conf_message message = {.is_warning = is_warning};
    struct conf_message *items;
    va_list args;

    if (!is_warning) {
        messages->error_count++;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    items = mem_realloc_array(messages->items, messages->count + 1, sizeof(*items));
    if (!items) {
        return;
    }
    messages->items = items;
    if (fill(&message, text, origin)) {
        items[messages->count++] = message;
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
    char origin_buf[512];
    struct text origin = TEXT_OVER(origin_buf);

    ASSERT(cap > 0);
    conf_origin_put(&origin, message->origin);
    (void)snprintf(buf, cap, "%s: %s%s", text_cstr(&origin), message->is_warning ? "warning: " : "",
                   message->text);
}
