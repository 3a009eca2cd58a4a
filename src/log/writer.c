// SPDX-License-Identifier: MIT
#include "log/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/thread.h"
#include "log/event_line.h"
#include "log/journal.h"
#include "log/ring.h"

#define CHUNK_BYTES (64U * 1024) /* of one write; longer than any line */
#define LEAST_BUFFER_BYTES 4096U
#define FIRST_RETRY_MS 50U
#define LAST_RETRY_MS 1000U

struct log_writer {
    char *path; /* owned; NULL: stdout */
    atomic_bool json;
    bool is_terminal;
    bool is_journal; /* for good: stdout is not opened anew */
    pthread_t thread;

    /* The thread's alone. */
    int fd;            /* owned */
    unsigned retry_ms; /* how long the last failure made us wait; 0 when the last write went well */

    pthread_mutex_t lock; /* of all below; never held over a system call that may block */
    pthread_cond_t wake;  /* the thread sleeps here, and at the end whoever waits for its end */
    struct ring ring;
    uint64_t retry_at_ms; /* 0, or when to try again after a failure */
    uint64_t dropped;
    uint64_t dropped_untold; /* no line has told of these */
    uint64_t write_errors;
    bool reopen;
    bool stopping;
    bool ended;
};

/* --- What the writer says itself --- */

/* On stderr, if that can take it at once: the thread must not hang there. */
static void say_on_stderr(const char *what, const char *why)
{
    struct pollfd poller = {.fd = STDERR_FILENO, .events = POLLOUT};
    char bytes[256];
    struct text line = TEXT_OVER(bytes);
    ssize_t written;

    text_put(&line, journal_prefix_on(STDERR_FILENO, LOG_WARNING));
    text_printf(&line, "viaduct: warning: log: %s%s%s\n", what, why[0] != '\0' ? ": " : "", why);
    if (poll(&poller, 1, 0) == 1 && (poller.revents & POLLOUT)) {
        written = write(STDERR_FILENO, line.ptr, line.len);
        (void)written; /* nobody left to tell */
    }
}

static const char *error_text(int error)
{
    const char *text = strerrordesc_np(error);

    return text != NULL ? text : "unknown error";
}

/* With the lock held: a line of our own behind those that wait, if there is room for more bytes
 * too. */
static bool put_own_line(struct log_writer *w, enum log_level level, const struct log_field *field,
                         const char *msg, size_t more)
{
    char bytes[JOURNAL_PREFIX_LEN + EVENT_LINE_MAX];
    struct text line = TEXT_OVER(bytes);

    text_put(&line, log_writer_prefix(w, level));
    event_line_put(&line, w->json, clock_wall_ms(), level, "log", field, 1, str_of(msg));
    return line.len + more <= ring_space(&w->ring) && ring_put(&w->ring, text_str(&line));
}

/* With the lock held: tells how many lines are missing at this place, if there is room for that and
 * more bytes behind it. False when there is not. */
static bool tell_dropped(struct log_writer *w, size_t more)
{
    struct log_field field = LOG_NUM("dropped", w->dropped_untold);

    if (w->dropped_untold > 0) {
        if (ring_space(&w->ring) <= more ||
            !put_own_line(w, LOG_WARNING, &field,
                          "lines were dropped here: the log could not be written in time", more)) {
            return false;
        }
        w->dropped_untold = 0;
    }
    return true;
}

/* --- The file --- */

/* A new descriptor, ours, or negative errno. */
static int open_destination(const char *path)
{
    /* A number of our own for stdout: should number 1 be closed and taken by a connection, no log
     * line gets there. The descriptor's flags are shared with whoever gave it and stay as they are.
     * A file is opened so that a fifo without a reader holds up nothing. */
    int fd =
        path == NULL
            ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
            : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

    return fd >= 0 ? fd : -errno;
}

static bool is_same_file(int a, int b)
{
    struct stat stat_a;
    struct stat stat_b;

    return fstat(a, &stat_a) == 0 && fstat(b, &stat_b) == 0 && stat_a.st_dev == stat_b.st_dev &&
           stat_a.st_ino == stat_b.st_ino;
}

/* The first bytes of a line, the last that went to this file, are taken back, for the whole line
 * goes elsewhere; save where somebody has written behind them. */
static void take_back(int fd, size_t len)
{
    off_t end = lseek(fd, 0, SEEK_CUR);
    struct stat status;
    int taken;

    if (len > 0 && end >= (off_t)len && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        status.st_size == end) {
        taken = ftruncate(fd, end - (off_t)len);
        (void)taken; /* else a part of a line stays behind, which does no more harm */
    }
}

/* With the lock held, which it lets go meanwhile. */
static void reopen(struct log_writer *w)
{
    struct log_field field = LOG_TEXT("path", str_of(w->path));
    bool same_file = true;
    int fd;

    w->reopen = false;
    (void)pthread_mutex_unlock(&w->lock);
    fd = open_destination(w->path);
    if (fd >= 0) {
        same_file = is_same_file(fd, w->fd);
        if (!same_file) {
            take_back(w->fd, w->ring.sent); /* which only this thread changes */
        }
        (void)close(w->fd);
        w->fd = fd;
    }
    (void)pthread_mutex_lock(&w->lock);
    if (fd < 0) {
        char msg[128];
        struct text text = TEXT_OVER(msg);

        text_printf(&text, "cannot open the file again, the old one stays: %s", error_text(-fd));
        if (!put_own_line(w, LOG_ERROR, &field, text_cstr(&text), 0)) {
            say_on_stderr(text_cstr(&text), "");
        }
        return;
    }
    if (!same_file) {
        ring_rewind(&w->ring); /* a line begun in the old file stands whole in the new one */
    }
    w->retry_at_ms = 0;
}

/* --- The thread --- */

static struct timespec timespec_of(uint64_t mono_ms)
{
    return (struct timespec){.tv_sec = (time_t)(mono_ms / 1000),
                             .tv_nsec = (long)(mono_ms % 1000) * 1000000};
}

/* With the lock held: waits until there is something to do; false when the thread is to end. */
static bool wait_for_work(struct log_writer *w)
{
    for (;;) {
        struct timespec at = timespec_of(w->retry_at_ms);

        if (w->reopen) {
            return true;
        }
        if (w->retry_at_ms == 0) {
            if (ring_is_empty(&w->ring)) {
                (void)tell_dropped(w, 0);
            }
            if (!ring_is_empty(&w->ring)) {
                return true;
            }
        }
        if (w->stopping) {
            return false;
        }
        if (w->retry_at_ms == 0) {
            (void)pthread_cond_wait(&w->wake, &w->lock);
        } else if (pthread_cond_timedwait(&w->wake, &w->lock, &at) == ETIMEDOUT) {
            w->retry_at_ms = 0;
        }
    }
}

/* With the lock held. Pauses grow up to a second, whatever new lines arrive meanwhile. */
static void write_failed(struct log_writer *w, int error)
{
    w->write_errors++;
    if (w->retry_ms == 0) {
        say_on_stderr("cannot write, trying again", error_text(error));
    }
    w->retry_ms = w->retry_ms == 0 ? FIRST_RETRY_MS : MIN(2 * w->retry_ms, LAST_RETRY_MS);
    w->retry_at_ms = clock_mono_ms() + w->retry_ms;
}

/* With the lock held, which it lets go to write: the ring's oldest bytes stay where they are. */
static void write_chunk(struct log_writer *w)
{
    struct iovec parts[2];
    int count = ring_front(&w->ring, CHUNK_BYTES, parts);
    ssize_t written;
    int error;

    (void)pthread_mutex_unlock(&w->lock);
    written = writev(w->fd, parts, count);
    error = written < 0 ? errno : EIO; /* EIO: a device that takes nothing */
    if (written < 0 && error == EAGAIN) {
        struct pollfd poller = {.fd = w->fd, .events = POLLOUT};

        (void)poll(&poller, 1, LAST_RETRY_MS);
    }
    (void)pthread_mutex_lock(&w->lock);
    if (written > 0) {
        ring_sent(&w->ring, (size_t)written);
        w->retry_ms = 0;
    } else if (error != EINTR && error != EAGAIN) {
        write_failed(w, error);
    }
}

static void *writer_main(void *arg)
{
    struct log_writer *w = arg;

    thread_begin("viaduct-log", THREAD_USUAL);
    (void)pthread_mutex_lock(&w->lock);
    while (wait_for_work(w)) {
        if (w->reopen) {
            reopen(w);
        } else {
            write_chunk(w);
        }
    }
    w->ended = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* --- From other threads --- */

/* No signal is ever handled in the thread. */
static int start_thread(struct log_writer *w)
{
    sigset_t all;
    sigset_t before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&w->thread, NULL, writer_main, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

static void init_lock(struct log_writer *w)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&w->lock, NULL);
}

/* The thread has ended, or never was. */
static void free_writer(struct log_writer *w)
{
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->lock);
    ring_deinit(&w->ring);
    mem_free(w->path);
    mem_free(w);
}

/* What can fail; the caller frees. */
static int open_and_start(struct log_writer *w, const struct log_writer_options *options)
{
    int error = ring_init(&w->ring, MAX(options->buffer_bytes, LEAST_BUFFER_BYTES));

    if (error != 0) {
        return error;
    }
    if (options->path != NULL) {
        w->path = mem_strdup(options->path);
        if (w->path == NULL) {
            return -ENOMEM;
        }
    }
    w->fd = open_destination(w->path);
    if (w->fd < 0) {
        return w->fd;
    }
    w->is_terminal = isatty(w->fd) == 1;
    w->is_journal = w->path == NULL && journal_has(w->fd);
    return start_thread(w);
}

int log_writer_new(const struct log_writer_options *options, struct log_writer **ret)
{
    struct log_writer *w = mem_zalloc(sizeof(*w));
    int error;

    if (w == NULL) {
        return -ENOMEM;
    }
    w->fd = -1;
    w->json = options->json;
    init_lock(w);
    error = open_and_start(w, options);
    if (error != 0) {
        free_writer(w);
        return error;
    }
    *ret = w;
    return 0;
}

/* With the lock held. */
static void say_lost(struct log_writer *w)
{
    uint64_t waiting = ring_count_lines(&w->ring);
    char bytes[128];
    struct text text = TEXT_OVER(bytes);

    if (waiting > 0 || w->dropped_untold > 0) {
        text_printf(&text, "%llu lines were lost at the end, %llu dropped before",
                    (unsigned long long)waiting, (unsigned long long)w->dropped);
        say_on_stderr(text_cstr(&text), "");
    }
}

void log_writer_stop(struct log_writer *w, unsigned deadline_ms)
{
    struct timespec at = timespec_of(clock_mono_ms() + deadline_ms);
    bool ended;

    if (!w) {
        return;
    }
    (void)pthread_mutex_lock(&w->lock);
    w->stopping = true;
    w->retry_at_ms = 0; /* one more attempt, now */
    (void)pthread_cond_broadcast(&w->wake);
    while (!w->ended && pthread_cond_timedwait(&w->wake, &w->lock, &at) != ETIMEDOUT) {
    }
    ended = w->ended;
    say_lost(w);
    (void)pthread_mutex_unlock(&w->lock);
    if (ended) {
        (void)pthread_join(w->thread, NULL);
        free_writer(w);
    } else {
        (void)pthread_detach(w->thread);
    }
}

struct str log_writer_prefix(const struct log_writer *w, enum log_level level)
{
    return w->is_journal ? journal_prefix(level) : STR("");
}

bool log_writer_put(struct log_writer *w, struct str lines, size_t line_count)
{
    bool taken;

    if (lines.len == 0) {
        return true;
    }
    ASSERT(lines.ptr[lines.len - 1] == '\n');
    (void)pthread_mutex_lock(&w->lock);
    taken = tell_dropped(w, lines.len) && ring_put(&w->ring, lines);
    if (!taken) {
        w->dropped += line_count;
        w->dropped_untold += line_count;
    }
    (void)pthread_mutex_unlock(&w->lock);
    if (taken) {
        (void)pthread_cond_signal(&w->wake); /* not before: it would wake up to wait for the lock */
    }
    return taken;
}

void log_writer_set_json(struct log_writer *writer, bool json)
{
    writer->json = json;
}

bool log_writer_reopen(struct log_writer *w)
{
    if (w->path == NULL) {
        return false;
    }
    (void)pthread_mutex_lock(&w->lock);
    w->reopen = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    return true;
}

/* *count is one of the writer's numbers that the lock guards. */
static uint64_t read_count(struct log_writer *w, const uint64_t *count)
{
    uint64_t value;

    (void)pthread_mutex_lock(&w->lock);
    value = *count;
    (void)pthread_mutex_unlock(&w->lock);
    return value;
}

uint64_t log_writer_dropped(struct log_writer *w)
{
    return read_count(w, &w->dropped);
}

uint64_t log_writer_errors(struct log_writer *w)
{
    return read_count(w, &w->write_errors);
}

bool log_writer_is_terminal(const struct log_writer *w)
{
    return w->is_terminal;
}
