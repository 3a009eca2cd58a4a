// SPDX-License-Identifier: MIT
/* What goes through a pipe: in order, not a byte too many, and back to reading where it must be. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/io.h"
#include "io/outq.h"
#include "io/stream.h"

#define BULK ((size_t)512 << 10)

/* A stream over one end of a pair of sockets; the test holds the other end. */
struct fake {
    struct stream stream;
    int fd;
    int far_fd;
    int splice_fd; /* -1: it cannot */
};

static struct buf_budget budget = {.max_bytes = 1 << 30};
static struct fd_budget fds = {.max = 100};
static struct io io;
static struct fake source;
static struct fake sink;
static struct outq q;
static char bulk[2 * BULK];
static int pieces; /* of the last write */

static struct fake *fake_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct fake, stream);
}

static ssize_t fake_writev(struct stream *stream, const struct iovec *iov, int count)
{
    ssize_t n = writev(fake_of(stream)->fd, iov, count);

    pieces = count;
    stream->writable = n >= 0;
    return n >= 0 ? n : -errno;
}

static int fake_splice_fd(struct stream *stream)
{
    return fake_of(stream)->splice_fd;
}

static const struct stream_ops fake_ops = {.writev = fake_writev, .splice_fd = fake_splice_fd};

static void open_fake(struct fake *fake, int buffer_bytes)
{
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(int)), 0);
    cr_assert_eq(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(int)), 0);
    *fake = (struct fake){.fd = pair[0], .far_fd = pair[1], .splice_fd = pair[0]};
    fake->stream.ops = &fake_ops;
    fake->stream.io = &io;
    fake->stream.io = &io;
    fake->stream.readable = fake->stream.writable = fake->stream.plenty = true;
}

static void set_up(void)
{
    for (size_t i = 0; i < sizeof(bulk) / 4; i++) {
        memcpy(bulk + 4 * i, &(uint32_t){(uint32_t)i}, 4);
    }
    cr_assert_eq(io_init(&io, &budget, &fds), 0);
    open_fake(&source, 8 << 20);
    open_fake(&sink, 8 << 20);
    outq_init(&q, &sink.stream);
}

static void tear_down(void)
{
    outq_deinit(&q);
    cr_expect_eq(io.pipes.closed_count + io.pipes.kept_count, PIPE_POOL_MAX);
    io_deinit(&io);
    cr_expect_eq(atomic_load(&fds.used), 0, "descriptors were given back");
    cr_expect_eq(atomic_load(&budget.used_bytes), 0, "memory was given back");
}

TestSuite(outq, .init = set_up, .fini = tear_down);

static void offer(size_t len)
{
    cr_assert_eq(write(source.far_fd, bulk, len), (ssize_t)len);
}

/* Makes the sink a small one, so that it takes only part of what is offered. */
static void narrow_sink(void)
{
    (void)close(sink.fd);
    (void)close(sink.far_fd);
    open_fake(&sink, 64 << 10);
}

/* Reads on the far side all that comes while the queue is flushed again and again. */
static size_t read_all(char *dst, size_t cap)
{
    size_t len = 0;
    ssize_t n;

    do {
        n = read(sink.far_fd, dst + len, cap - len);
        len += (size_t)MAX(n, 0);
        sink.stream.writable = true;
        outq_flush(&q);
    } while (n > 0);
    return len;
}

static void expect_bytes(const char *before, size_t len, const char *after)
{
    size_t cap = 3 * BULK;
    char *got = malloc(cap);
    size_t got_len = read_all(got, cap);
    size_t head = strlen(before);

    cr_assert_eq(got_len, head + len + strlen(after), "%zu bytes", got_len);
    cr_expect_eq(memcmp(got, before, head), 0);
    cr_expect_eq(memcmp(got + head, bulk, len), 0);
    cr_expect_eq(memcmp(got + head + len, after, strlen(after)), 0);
    cr_expect_eq(q.written_bytes, got_len);
    cr_expect(outq_empty(&q));
    free(got);
}

Test(outq, splices_behind_what_was_queued)
{
    offer(BULK);
    outq_add(&q, STR("head"));
    cr_assert_eq(outq_splice(&q, &source.stream, UINT64_MAX), BULK);
    cr_expect_null(q.pipe, "nothing waits, so no pipe is held");
    cr_expect_eq(io.pipes.kept_count, 1);
    outq_add(&q, STR("tail"));
    outq_flush(&q);
    expect_bytes("head", BULK, "tail");
}

Test(outq, copies_side_by_side_are_one_piece)
{
    char got[64];

    for (int i = 0; i < 3; i++) {
        outq_add_copy(&q, STR("4\r\n"));
        outq_add(&q, STR("data"));
        outq_add_copy(&q, STR("\r\n"));
    }
    outq_flush(&q);
    cr_expect_eq(pieces, 7);
    cr_expect_eq(read_all(got, sizeof(got)), 27);
    cr_expect_eq(memcmp(got, "4\r\ndata\r\n4\r\ndata\r\n4\r\ndata\r\n", 27), 0);
}

Test(outq, keeps_the_order_while_a_pipe_holds_bytes)
{
    narrow_sink();
    offer(BULK);
    outq_add(&q, STR("head"));
    cr_assert_eq(outq_splice(&q, &source.stream, UINT64_MAX), BULK);
    cr_assert_not_null(q.pipe);
    cr_expect(outq_blocked(&q));
    cr_expect_not(outq_empty(&q));
    outq_add(&q, STR("ta"));
    outq_flush(&q);
    outq_add_copy(&q, STR("il"));
    outq_flush(&q);
    offer(BULK);
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EAGAIN, "it is blocked");
    expect_bytes("head", BULK, "tail");
}

Test(outq, takes_no_more_than_it_may)
{
    offer(2 * BULK);
    cr_expect_eq(outq_splice(&q, &source.stream, BULK + 1), BULK + 1);
    expect_bytes("", BULK + 1, "");
}

Test(outq, tells_the_end_of_the_source_and_its_emptiness)
{
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EAGAIN);
    cr_expect_not(source.stream.readable);
    cr_expect_not(outq_blocked(&q));
    (void)close(source.far_fd);
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), 0);
    cr_expect_not(outq_blocked(&q));
}

Test(outq, is_to_be_read_for_when_splicing_does_not_pay)
{
    offer(BULK);
    cr_expect_eq(outq_splice(&q, &source.stream, OUTQ_SPLICE_MIN_BYTES - 1), -EOPNOTSUPP);
    source.stream.plenty = false;
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EOPNOTSUPP);
    source.stream.plenty = true;
    source.splice_fd = -1;
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EOPNOTSUPP);
    source.splice_fd = source.fd;
    sink.stream.no_splice = true;
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EOPNOTSUPP);
    sink.stream.no_splice = false;
    fds.max = 1;
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EOPNOTSUPP);
    fds.max = 100;
    q.error = -EPIPE;
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EOPNOTSUPP);
}

Test(outq, a_source_that_gave_little_is_read_next)
{
    offer(1000);
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), 1000);
    cr_expect_eq(outq_splice(&q, &source.stream, UINT64_MAX), -EOPNOTSUPP);
}

/* The kernel refuses to splice to a file that is open for appending. */
static void refuse_at_sink(void)
{
    char path[] = "/tmp/test_outq.XXXXXX";
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    (void)unlink(path);
    cr_assert_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
    sink.splice_fd = fd;
}

Test(outq, copies_what_the_sink_will_not_splice)
{
    refuse_at_sink();
    offer(BULK);
    outq_add(&q, STR("head"));
    cr_assert_eq(outq_splice(&q, &source.stream, UINT64_MAX), BULK);
    cr_expect_null(q.pipe);
    cr_expect(sink.stream.no_splice);
    expect_bytes("head", BULK, "");
}

Test(outq, copies_out_of_the_pipe_in_front_of_what_waits)
{
    narrow_sink();
    offer(BULK);
    cr_assert_eq(outq_splice(&q, &source.stream, UINT64_MAX), BULK);
    cr_assert_not_null(q.pipe);
    outq_add(&q, STR("tail"));
    outq_flush(&q);
    refuse_at_sink();
    expect_bytes("", BULK, "tail");
    cr_expect_null(q.pipe);
}

Test(outq, a_pipe_with_bytes_serves_nobody_else)
{
    narrow_sink();
    offer(BULK);
    cr_assert_eq(outq_splice(&q, &source.stream, UINT64_MAX), BULK);
    outq_deinit(&q);
    cr_expect_eq(io.pipes.kept_count, 0);
    cr_expect_eq(atomic_load(&fds.used), 0);
}

Test(outq, a_sink_that_died_takes_nothing_more)
{
    offer(BULK);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)close(sink.far_fd);
    cr_assert_eq(outq_splice(&q, &source.stream, UINT64_MAX), BULK, "it was taken from the source");
    cr_expect_eq(q.error, -EPIPE);
    cr_expect_not(outq_blocked(&q));
}

Test(outq, as_many_pipes_as_may_be_and_no_more)
{
    struct pipe *pipes[PIPE_POOL_MAX];

    fds.max = 10000;
    for (size_t i = 0; i < PIPE_POOL_MAX; i++) {
        pipes[i] = pipe_get(&io.pipes);
        cr_assert_not_null(pipes[i], "pipe %zu", i);
    }
    cr_expect_null(pipe_get(&io.pipes));
    for (size_t i = 0; i < PIPE_POOL_MAX; i++) {
        pipe_put(&io.pipes, pipes[i]);
    }
    cr_expect_eq(atomic_load(&fds.used), 2 * PIPE_POOL_KEPT);
    cr_expect_eq(pipe_pool_shrink(&io.pipes), 2 * PIPE_POOL_KEPT);
}
