// SPDX-License-Identifier: MIT
#include <errno.h>

#include "io/io.h"
#include "proxy/client_private.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

ssize_t client_splice_body(void *downstream, struct stream *from, uint64_t max)
{
    struct client *c = downstream;
    ssize_t n;

    if (c->framing == BODY_CHUNKED) {
        return -EOPNOTSUPP;
    }
    n = outq_splice(&c->out, from, max);
    if (c->out.error != 0) {
        loop_defer(c->proxy->io->loop, &c->task); /* nobody else looks at it */
    }
    return n;
}

ssize_t client_splice_input(struct client *c)
{
    uint64_t left = 0;
    ssize_t n;

    if (c->state == CLIENT_ACTIVE && buf_len(&c->in) == 0 && exchange_wants_body(c->x)) {
        left = h1_parser_plain_left(c->parser);
    }
    if (left == 0) {
        return -EOPNOTSUPP;
    }
    n = exchange_splice_body(c->x, c->stream, left);
    if (n > 0) {
        h1_parser_skip_body(c->parser, (uint64_t)n);
        c->bytes_in += (uint64_t)n;
        loop_defer(c->proxy->io->loop, &c->task); /* for more, once others have had their turn */
    }
    return n;
}
