// SPDX-License-Identifier: MIT
#include "proxy/access_log.h"

#include <errno.h>

#include "base/mem.h"
#include "log/journal.h"
#include "log/writer.h"

#define BATCH_BYTES ((size_t)32 << 10)
#define BATCH_MS 100

static void hand_over(struct access_log *log)
{
    deadline_disarm(&log->flush);
    if (log->lines == 0) {
        return;
    }
    (void)log_writer_put(log->writer, text_str(&log->batch), log->lines);
    log->batch.len = 0;
    log->lines = 0;
    log->handed_over_ms = loop_now_ms(log->loop);
}

static void on_flush(struct deadline *deadline)
{
    hand_over(CONTAINER_OF(deadline, struct access_log, flush));
}

static void on_turn_end(void *arg)
{
    struct access_log *log = arg;

    if (log->lines == 0 || deadline_armed(&log->flush)) {
        return;
    }
    if (loop_now_ms(log->loop) - log->handed_over_ms >= BATCH_MS ||
        log_writer_is_terminal(log->writer)) {
        hand_over(log);
    } else {
        deadline_arm(&log->flush, log->loop, BATCH_MS);
    }
}

int access_log_init(struct access_log *log, struct loop *loop, struct log_writer *writer)
{
    size_t cap = BATCH_BYTES + JOURNAL_PREFIX_LEN + RECORD_LINE_MAX;
    char *memory = mem_alloc(cap);

    if (!memory) {
        return -ENOMEM;
    }
    *log = (struct access_log){.writer = writer, .loop = loop};
    log->batch = text_over(memory, cap);
    deadline_init(&log->flush, on_flush);
    loop_on_turn_end(loop, on_turn_end, log);
    return 0;
}

void access_log_set_format(struct access_log *log, enum log_format format)
{
    log->format = format;
}

void access_log_deinit(struct access_log *log)
{
    hand_over(log);
    mem_free(log->batch.ptr);
    log->batch = (struct text){0};
}

void access_log_put(struct access_log *log, const struct log_record *record)
{
    size_t before = log->batch.len;
    size_t begun;

    /* Refused or not: connections are of level info, and notices are for what the operator does. */
    text_put(&log->batch, log_writer_prefix(log->writer, LOG_INFO));
    begun = log->batch.len;
    log_record_put(&log->batch, log->format, record);
    if (log->batch.len > begun) {
        log->lines++;
    } else {
        log->batch.len = before;
    }
    if (log->batch.len >= BATCH_BYTES) {
        hand_over(log);
    }
}
