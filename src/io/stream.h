// SPDX-License-Identifier: MIT
#pragma once

/*
 * The transport seam: a byte stream that does not block, in both directions,
 * each of which can end on its own. Readiness is cached in two bits; whoever
 * reads or writes until a bit is clear will be called when it is set again
 * (who splices past the functions here keeps the bits too: pipe_pool.c).
 * An owner may stop reading at any time and go on later by itself:
 * backpressure costs no system call.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/addr.h"
#include "base/attr.h"

struct io;
struct stream;

struct stream_ops {
    ssize_t (*read)(struct stream *stream, void *dst, size_t len);
    ssize_t (*writev)(struct stream *stream, const struct iovec *iov, int count);
    int (*shut_write)(struct stream *stream);
    void (*close)(struct stream *stream, bool reset);
    int (*splice_fd)(struct stream *stream);
    int (*error)(struct stream *stream);
    bool (*is_quiet)(struct stream *stream);
    bool (*has_event)(struct stream *stream);
    void (*relax)(struct stream *stream);
};

struct stream {
    const struct stream_ops *ops;
    struct io *io; /* borrowed: of the worker whose it is */
    /* Called from the loop when a bit was set. The owner may do anything, closing included. */
    void (*on_ready)(struct stream *stream);
    void *owner; /* borrowed */
    struct addr peer;
    bool readable;
    bool writable;
    bool plenty;    /* the last read filled what it was given: bulk is likely to follow */
    bool no_splice; /* the kernel has refused to */
    /* Of stream_tcp alone: here they fill what would be a hole, and streams are many. */
    bool ended;           /* no further edge will come: read on until 0 or an error */
    bool looks_next;      /* the silence is armed for a look, else for the probes */
    uint16_t keepalive_s; /* of the probes that are still to be asked for; 0: none are */
};

static inline void stream_set_owner(struct stream *stream, void *owner,
                                    void (*on_ready)(struct stream *stream))
{
    stream->owner = owner;
    stream->on_ready = on_ready;
}

/* > 0: bytes read. 0: the peer ended its direction. -EAGAIN: nothing now, readable is clear.
 * Another negative errno: the stream is dead (-ECONNRESET and the like). */
static inline ssize_t stream_read(struct stream *stream, void *dst, size_t len)
{
    return stream->ops->read(stream, dst, len);
}

/* Bytes written (fewer than asked: writable is clear), -EAGAIN, or another negative errno. */
static inline ssize_t stream_writev(struct stream *stream, const struct iovec *iov, int count)
{
    return stream->ops->writev(stream, iov, count);
}

/* Ends our direction (FIN). 0 or negative errno. */
static inline int stream_shut_write(struct stream *stream)
{
    return stream->ops->shut_write(stream);
}

/* Closes at once and frees when the stack has unwound; reset makes the peer see a reset (RST), so
 * that it cannot take what it has for the whole. NULL is accepted. */
static inline void stream_close(struct stream *stream, bool reset)
{
    if (stream) {
        stream->ops->close(stream, reset);
    }
}

/* The descriptor for splice(2), or -1 when bytes must pass through user space. */
static inline int stream_splice_fd(struct stream *stream)
{
    return stream->ops->splice_fd(stream);
}
static inline bool stream_can_splice(struct stream *stream)
{
    return !stream->no_splice && stream_splice_fd(stream) >= 0;
}

/* What the socket has met and nobody has been told yet: 0 or negative errno. The outcome of a
 * connection attempt, once writable. */
static inline int stream_error(struct stream *stream)
{
    return stream->ops->error(stream);
}

/* Looks, without taking anything, whether an idle stream is still open with nothing to read; then
 * readable is clear. */
static inline bool stream_is_quiet(struct stream *stream)
{
    return stream->ops->is_quiet(stream);
}

/* An event of it waits in the loop's present turn. */
static inline bool stream_has_event(struct stream *stream)
{
    return stream->ops->has_event(stream);
}

/* The owner expects nothing for now: no look is taken on suspicion (see stream_tcp.c). */
static inline void stream_relax(struct stream *stream)
{
    stream->ops->relax(stream);
}
