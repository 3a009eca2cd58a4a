// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/writer.h"

#define PATIENCE_MS 20000 /* nothing here takes that long unless it is broken */
#define STOP_MS 5000U

static char seen[1024 * 1024]; /* what came out */
static size_t seen_len;
static char dir[] = "/tmp/viaduct-writer-XXXXXX";
static char path[64];
static char old_path[64];
static struct log_writer *stuck; /* reachable for the leak checker */

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/log", dir);
    (void)snprintf(old_path, sizeof(old_path), "%s/log.1", dir);
}

static void remove_dir(void)
{
    (void)unlink(path);
    (void)unlink(old_path);
    (void)rmdir(dir);
}

/* A writer whose stdout is fd. Our own is there again afterwards. */
static struct log_writer *writer_on(int fd, size_t buffer_bytes, bool json)
{
    struct log_writer_options options = {.buffer_bytes = buffer_bytes, .json = json};
    struct log_writer *writer = NULL;
    int kept = dup(STDOUT_FILENO);

    cr_assert_eq(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    cr_assert_eq(log_writer_new(&options, &writer), 0);
    cr_assert_eq(dup2(kept, STDOUT_FILENO), STDOUT_FILENO);
    (void)close(kept);
    return writer;
}

static struct log_writer *writer_at(const char *file)
{
    struct log_writer_options options = {.path = file, .buffer_bytes = 256 * 1024};
    struct log_writer *writer = NULL;

    cr_assert_eq(log_writer_new(&options, &writer), 0);
    return writer;
}

static bool put(struct log_writer *writer, const char *line)
{
    return log_writer_put(writer, str_of(line), 1);
}

/* A line of size bytes that begins with its number. */
static bool put_numbered(struct log_writer *writer, unsigned number, size_t size)
{
    static _Thread_local char line[60 * 1024];
    struct text text = text_over(line, size);

    text_u64(&text, number);
    text_char(&text, ' ');
    memset(line + text.len, 'x', size - text.len - 1);
    line[size - 1] = '\n';
    return log_writer_put(writer, str_make(line, size), 1);
}

/* What fd has, or will have in a moment, into seen. False at its end. */
static bool read_some(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    ssize_t len = -1;

    if (poll(&poller, 1, 10) == 1) {
        len = read(fd, seen + seen_len, sizeof(seen) - 1 - seen_len);
        seen_len += len > 0 ? (size_t)len : 0;
        seen[seen_len] = '\0';
    }
    return len != 0;
}

/* Reads from fd into seen until that holds text. */
static void read_until(int fd, const char *text)
{
    uint64_t end_ms = clock_mono_ms() + PATIENCE_MS;

    while (strstr(seen, text) == NULL) {
        cr_assert(clock_mono_ms() < end_ms, "still no %s", text);
        (void)read_some(fd);
    }
}

static void load(const char *file)
{
    FILE *stream = fopen(file, "re");

    seen_len = stream == NULL ? 0 : fread(seen, 1, sizeof(seen) - 1, stream);
    seen[seen_len] = '\0';
    if (stream != NULL) {
        (void)fclose(stream);
    }
}

/* Loads the file until it holds text. */
static void load_until(const char *file, const char *text)
{
    uint64_t end_ms = clock_mono_ms() + PATIENCE_MS;

    for (load(file); strstr(seen, text) == NULL; load(file)) {
        cr_assert(clock_mono_ms() < end_ms, "still no %s", text);
        (void)poll(NULL, 0, 1);
    }
}

/* The writer has come to the end of the pipe: nothing more goes in. */
static bool is_full(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLOUT};

    return poll(&poller, 1, 0) == 0;
}

static void wait_errors(struct log_writer *writer, uint64_t count)
{
    uint64_t end_ms = clock_mono_ms() + PATIENCE_MS;

    while (log_writer_errors(writer) < count) {
        cr_assert(clock_mono_ms() < end_ms, "still no %d errors", (int)count);
        (void)poll(NULL, 0, 1);
    }
}

/* Every line in seen is whole and in its turn, where a line that tells of N missing ones stands for
 * N numbers. Returns the next number. */
static unsigned check_numbered(size_t size)
{
    struct str rest = str_make(seen, seen_len);
    unsigned number = 0;
    bool told_before = false;

    while (rest.len > 0) {
        size_t len = str_find(rest, '\n') + 1;
        struct str line = str_head(rest, len);
        const char *told = strstr(rest.ptr, "dropped");

        cr_assert(len <= rest.len, "a line without its end");
        if (str_starts(line, STR("time=")) || str_starts(line, STR("{\"time\":"))) {
            cr_assert_not(told_before, "one line could have told it");
            told_before = true;
            number += (unsigned)strtoul(told + strcspn(told, "0123456789"), NULL, 10);
        } else {
            cr_assert_eq(len, size, "torn: %.*s", STR_ARG(str_head(line, 40)));
            cr_assert_eq(strtoul(line.ptr, NULL, 10), number, "at %.*s",
                         STR_ARG(str_head(line, 40)));
            number++;
            told_before = false;
        }
        rest = str_from(rest, len);
    }
    return number;
}

Test(writer, writes_to_stdout)
{
    int fds[2];
    struct log_writer *writer;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    writer = writer_on(fds[1], 4096, false);
    cr_assert(put(writer, "one\n"));
    cr_assert(log_writer_put(writer, STR("two\nthree\n"), 2));
    read_until(fds[0], "three\n");
    cr_assert_str_eq(seen, "one\ntwo\nthree\n");
    cr_assert_not(log_writer_is_terminal(writer));
    log_writer_stop(writer, STOP_MS);
}

/* Lines into a pipe that nobody reads, until it is full and 50 more were refused in a row. Then a
 * reader comes, one more line is put, and everything ends up in seen. */
static void overflow_and_recover(size_t buffer_bytes, bool json)
{
    uint64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    unsigned number = 0;
    unsigned refused = 0;
    unsigned in_a_row = 0;
    int fds[2];
    char last[32];
    struct log_writer *writer;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    writer = writer_on(fds[1], buffer_bytes, json);
    while (in_a_row < 50) {
        if (put_numbered(writer, number++, 1000)) {
            in_a_row = 0;
        } else {
            cr_assert(clock_mono_ms() < end_ms, "still room in the pipe");
            refused++;
            in_a_row += is_full(fds[1]);
            (void)poll(NULL, 0, 1);
        }
    }
    (void)close(fds[1]);
    cr_assert_eq(log_writer_dropped(writer), refused);
    cr_assert(number - refused >= 20 + buffer_bytes / 1000, "pipe and queue were not full");

    while (!put_numbered(writer, number++, 1000)) {
        (void)read_some(fds[0]);
    }
    (void)snprintf(last, sizeof(last), "\n%u x", number - 1);
    read_until(fds[0], last);
    log_writer_stop(writer, STOP_MS);
    while (read_some(fds[0])) {
    }
    (void)close(fds[0]);
    cr_assert_eq(check_numbered(1000), number);
}

Test(writer, counts_what_is_dropped_and_tears_no_line)
{
    overflow_and_recover(32 * 1024, false);
    cr_assert_not_null(strstr(seen, " event=log level=warning dropped="));
    cr_assert_not_null(
        strstr(seen, " msg=\"lines were dropped here: the log could not be written in time\"\n"));
}

Test(writer, tells_of_dropped_lines_as_json)
{
    overflow_and_recover(4096, true);
    cr_assert_not_null(strstr(seen, ",\"event\":\"log\",\"level\":\"warning\",\"dropped\":"));
    cr_assert_not_null(strstr(
        seen, ",\"msg\":\"lines were dropped here: the log could not be written in time\"}\n"));
}

Test(writer, drops_a_batch_that_never_fits)
{
    struct log_writer *writer;

    make_dir();
    writer = writer_at(path);
    seen[300 * 1024 - 1] = '\n';
    cr_assert_not(log_writer_put(writer, str_make(seen, 300 * 1024), 7), "longer than the queue");
    cr_assert(put(writer, "next\n"));
    load_until(path, "next\n");
    cr_assert_not_null(strstr(seen, " dropped=7 msg="));
    log_writer_stop(writer, STOP_MS);
    remove_dir();
}

Test(writer, never_changes_flags_of_stdout)
{
    int fds[2];
    int before;
    struct log_writer *writer;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    before = fcntl(fds[1], F_GETFL);
    writer = writer_on(fds[1], 4096, false);
    cr_assert(put(writer, "one\n"));
    read_until(fds[0], "one\n");
    cr_assert_eq(fcntl(fds[1], F_GETFL), before);
    log_writer_stop(writer, STOP_MS);
    cr_assert_eq(fcntl(fds[1], F_GETFL), before);
}

Test(writer, waits_for_a_stdout_that_came_non_blocking)
{
    int fds[2];
    struct log_writer *writer;

    cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    writer = writer_on(fds[1], 512 * 1024, false);
    for (unsigned i = 0; i < 300; i++) {
        cr_assert(put_numbered(writer, i, 1000));
    }
    read_until(fds[0], "\n299 x");
    cr_assert_eq(log_writer_errors(writer), 0);
    log_writer_stop(writer, STOP_MS);
    (void)close(fds[1]);
    while (read_some(fds[0])) {
    }
    cr_assert_eq(check_numbered(1000), 300);
    cr_assert(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
}

Test(writer, stop_drains)
{
    struct log_writer *writer;
    struct stat status;

    make_dir();
    (void)umask(0);
    writer = writer_at(path);
    for (unsigned i = 0; i < 200; i++) {
        cr_assert(put_numbered(writer, i, 1000));
    }
    log_writer_stop(writer, STOP_MS);
    load(path);
    cr_assert_eq(check_numbered(1000), 200);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0640);
    remove_dir();
}

Test(writer, appends_to_a_file_that_is_there)
{
    make_dir();
    for (int i = 0; i < 2; i++) {
        struct log_writer *writer = writer_at(path);

        cr_assert(put(writer, "again\n"));
        log_writer_stop(writer, STOP_MS);
    }
    load(path);
    cr_assert_str_eq(seen, "again\nagain\n");
    remove_dir();
}

Test(writer, reopens_after_rename)
{
    struct log_writer *writer;

    make_dir();
    writer = writer_at(path);
    cr_assert(put(writer, "old\n"));
    load_until(path, "old\n");
    cr_assert_eq(rename(path, old_path), 0);
    cr_assert(put(writer, "still old\n"));
    load_until(old_path, "still old\n");
    (void)log_writer_reopen(writer);
    cr_assert(put(writer, "new\n"));
    load_until(path, "new\n");
    log_writer_stop(writer, STOP_MS);
    load(path);
    cr_assert_str_eq(seen, "new\n");
    load(old_path);
    cr_assert_str_eq(seen, "old\nstill old\n");
    remove_dir();
}

Test(writer, keeps_the_old_file_where_reopening_fails_and_says_so)
{
    struct log_writer *writer;

    make_dir();
    writer = writer_at(path);
    cr_assert_eq(rename(path, old_path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    (void)log_writer_reopen(writer);
    load_until(old_path, " event=log level=error path=/tmp/");
    cr_assert_not_null(strstr(seen, "the old one stays: Is a directory\"\n"));
    cr_assert(put(writer, "more\n"));
    load_until(old_path, "\nmore\n");
    log_writer_stop(writer, STOP_MS);
    (void)rmdir(path);
    remove_dir();
}

static void limit_file_size(rlim_t size)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The file has the first 1000 bytes of line 0, and the writer fails to add the rest. */
static struct log_writer *writer_with_half_a_line(void)
{
    struct log_writer *writer;

    make_dir();
    limit_file_size(1000);
    writer = writer_at(path);
    cr_assert(put_numbered(writer, 0, 1500));
    cr_assert(put_numbered(writer, 1, 1500));
    wait_errors(writer, 1);
    load(path);
    cr_assert_eq(seen_len, 1000);
    return writer;
}

Test(writer, finishes_a_begun_line_first)
{
    struct log_writer *writer = writer_with_half_a_line();

    limit_file_size(RLIM_INFINITY);
    load_until(path, "\n1 x");
    log_writer_stop(writer, STOP_MS);
    load(path);
    cr_assert_eq(check_numbered(1500), 2);
    remove_dir();
}

Test(writer, begins_a_begun_line_anew_in_a_new_file)
{
    struct log_writer *writer = writer_with_half_a_line();

    cr_assert_eq(rename(path, old_path), 0);
    /* It begins the line there before there is room for the rest of it: had the old file room, the
     * rest might go there just before it is given up. */
    (void)log_writer_reopen(writer);
    load_until(path, "0 x");
    limit_file_size(RLIM_INFINITY);
    load_until(path, "\n1 x");
    log_writer_stop(writer, STOP_MS);
    load(path);
    cr_assert_eq(check_numbered(1500), 2);
    load(old_path);
    cr_assert_eq(seen_len, 0, "half a line stayed in the old file");
    remove_dir();
}

Test(writer, finishes_a_begun_line_in_the_same_file_opened_again)
{
    struct log_writer *writer = writer_with_half_a_line();

    (void)log_writer_reopen(writer);
    wait_errors(writer, 3);
    limit_file_size(RLIM_INFINITY);
    load_until(path, "\n1 x");
    log_writer_stop(writer, STOP_MS);
    load(path);
    cr_assert_eq(check_numbered(1500), 2);
    remove_dir();
}

Test(writer, tries_again_on_a_full_disk_without_spinning)
{
    uint64_t start_ms = clock_mono_ms();
    struct log_writer *writer = writer_at("/dev/full");

    cr_assert(put(writer, "one\n"));
    while (log_writer_errors(writer) < 4) {
        (void)put(writer, "more\n"); /* new lines do not hurry it */
        cr_assert(clock_mono_ms() < start_ms + PATIENCE_MS);
        (void)poll(NULL, 0, 1);
    }
    cr_assert(clock_mono_ms() - start_ms >= 50 + 100 + 200 - 5);
    start_ms = clock_mono_ms();
    log_writer_stop(writer, 60 * 1000);
    cr_assert(clock_mono_ms() - start_ms < PATIENCE_MS, "no use waiting for a full disk");
}

Test(writer, goes_on_when_a_fifo_has_a_reader_again)
{
    struct log_writer *writer;
    int fd;

    make_dir();
    cr_assert_eq(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    writer = writer_at(path);
    /* More than one read and a full pipe: the writer stands amid a line when the reader leaves. */
    for (unsigned i = 0; i < 5; i++) {
        cr_assert(put_numbered(writer, i, 40000));
    }
    read_until(fd, "0 x");
    (void)close(fd);
    wait_errors(writer, 1);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert(put_numbered(writer, 5, 40000));
    read_until(fd, "\n5 x");
    log_writer_stop(writer, STOP_MS);
    while (read_some(fd)) {
    }
    cr_assert_eq(check_numbered(40000), 6);
    (void)close(fd);
    remove_dir();
}

Test(writer, stop_keeps_its_deadline_with_a_stuck_reader)
{
    uint64_t start_ms;
    int out[2];
    int err[2];
    int kept;

    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
    stuck = writer_on(out[1], 256 * 1024, false);
    for (unsigned i = 0; i < 200; i++) {
        cr_assert(put_numbered(stuck, i, 1000));
    }
    while (!is_full(out[1])) {
        (void)poll(NULL, 0, 1);
    }
    kept = dup(STDERR_FILENO);
    cr_assert_eq(dup2(err[1], STDERR_FILENO), STDERR_FILENO);
    start_ms = clock_mono_ms();
    log_writer_stop(stuck, 100);
    cr_assert_eq(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    cr_assert(clock_mono_ms() - start_ms >= 100);
    cr_assert(clock_mono_ms() - start_ms < PATIENCE_MS);
    read_until(err[0], " lines were lost at the end, 0 dropped before\n");
    cr_assert(str_starts(str_of(seen), STR("viaduct: warning: log: 1")), "%s", seen);
}

Test(writer, cannot_start_without_a_place_to_write)
{
    struct log_writer_options options = {.path = "/nonexistent/log", .buffer_bytes = 4096};
    struct log_writer *writer = NULL;
    int kept;

    cr_assert_eq(log_writer_new(&options, &writer), -ENOENT);

    make_dir();
    options.path = path;
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(log_writer_new(&options, &writer), -ENXIO, "hung up by nobody");
    remove_dir();

    options.path = NULL;
    kept = dup(STDOUT_FILENO);
    (void)close(STDOUT_FILENO);
    cr_assert_eq(log_writer_new(&options, &writer), -EBADF);
    (void)dup2(kept, STDOUT_FILENO);
    cr_assert_null(writer);
}

/* The first line of a file of our thread TID that begins with prefix, in seen. */
static bool read_task(const char *tid, const char *file, const char *prefix)
{
    char name[300];

    (void)snprintf(name, sizeof(name), "/proc/self/task/%s/%s", tid, file);
    load(name);
    return strstr(seen, prefix) != NULL;
}

Test(writer, thread_has_a_name_and_takes_no_signal)
{
    struct log_writer *writer = writer_at("/dev/null");
    uint64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    unsigned long long blocked = 0;

    while (blocked == 0 && clock_mono_ms() < end_ms) {
        DIR *tasks = opendir("/proc/self/task");

        for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
            if (read_task(task->d_name, "comm", "viaduct-log\n") &&
                read_task(task->d_name, "status", "SigBlk:\t")) {
                blocked = strtoull(strstr(seen, "SigBlk:\t") + strlen("SigBlk:\t"), NULL, 16);
            }
        }
        (void)closedir(tasks);
    }
    for (int number = 1; number < 32; number++) {
        if (number != SIGKILL && number != SIGSTOP) {
            cr_assert(blocked >> (number - 1) & 1, "signal %d", number);
        }
    }
    log_writer_stop(writer, STOP_MS);
}

struct putter {
    struct log_writer *writer;
    char letter;
};

static void *put_many(void *arg)
{
    const struct putter *putter = arg;

    for (unsigned i = 0; i < 500; i++) {
        char line[64];
        int len = snprintf(line, sizeof(line), "%c %u\n%c.\n", putter->letter, i, putter->letter);

        (void)!log_writer_put(putter->writer, str_make(line, (size_t)len), 2);
    }
    return NULL;
}

Test(writer, batches_of_several_threads_stay_whole_and_in_order)
{
    struct putter putters[4];
    pthread_t threads[4];
    unsigned next[4] = {0};
    size_t at = 0;

    make_dir();
    stuck = writer_at(path);
    for (size_t i = 0; i < 4; i++) {
        putters[i] = (struct putter){stuck, (char)('a' + i)};
        cr_assert_eq(pthread_create(&threads[i], NULL, put_many, &putters[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    log_writer_stop(stuck, STOP_MS);
    load(path);
    while (at < seen_len) {
        size_t who = (size_t)(seen[at] - 'a');
        char want[64];

        cr_assert(who < 4);
        (void)snprintf(want, sizeof(want), "%c %u\n%c.\n", seen[at], next[who]++, seen[at]);
        cr_assert(str_starts(str_of(seen + at), str_of(want)));
        at += strlen(want);
    }
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(next[i], 500);
    }
    remove_dir();
}
