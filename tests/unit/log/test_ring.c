// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "log/ring.h"

static char space[4096];

/* What ring_front gives, as text. */
static const char *front(const struct ring *ring, size_t max_bytes)
{
    struct text out = TEXT_OVER(space);
    struct iovec parts[2];
    int count = ring_front(ring, max_bytes, parts);

    for (int i = 0; i < count; i++) {
        text_put(&out, str_make(parts[i].iov_base, parts[i].iov_len));
    }
    return text_cstr(&out);
}

Test(ring, gives_whole_lines_where_it_can)
{
    struct ring ring;

    cr_assert_eq(ring_init(&ring, 32), 0);
    cr_assert(ring_put(&ring, STR("one\ntwo\n")));
    cr_assert_str_eq(front(&ring, 100), "one\ntwo\n");
    cr_assert_str_eq(front(&ring, 7), "one\n");
    cr_assert_str_eq(front(&ring, 2), "on", "longer than what may be given");
    ring_deinit(&ring);
}

Test(ring, gives_whole_lines_over_the_wrap)
{
    struct ring ring;

    cr_assert_eq(ring_init(&ring, 12), 0);
    cr_assert(ring_put(&ring, STR("one\ntwo\n")));
    ring_sent(&ring, 4);
    cr_assert(ring_put(&ring, STR("three\n")));
    cr_assert_str_eq(front(&ring, 11), "two\nthree\n");
    cr_assert_str_eq(front(&ring, 9), "two\n");
    ring_sent(&ring, 10);
    cr_assert(ring_is_empty(&ring));
    cr_assert_eq(ring.first, 0);
    ring_deinit(&ring);
}

Test(ring, keeps_a_line_until_it_has_gone_out)
{
    struct ring ring;

    cr_assert_eq(ring_init(&ring, 8), 0);
    cr_assert(ring_put(&ring, STR("one\ntwo\n")));
    ring_sent(&ring, 2);
    cr_assert_eq(ring_space(&ring), 0);
    cr_assert_str_eq(front(&ring, 100), "e\ntwo\n");
    ring_sent(&ring, 4);
    cr_assert_eq(ring_space(&ring), 4);
    cr_assert_eq(ring_count_lines(&ring), 1);
    cr_assert_str_eq(front(&ring, 100), "o\n");
    ring_rewind(&ring);
    cr_assert_str_eq(front(&ring, 100), "two\n");
    ring_sent(&ring, 4);
    cr_assert(ring_is_empty(&ring));
    ring_deinit(&ring);
}

Test(ring, refuses_what_does_not_fit_whole)
{
    struct ring ring;

    cr_assert_eq(ring_init(&ring, 8), 0);
    cr_assert_not(ring_put(&ring, STR("12345678\n")));
    cr_assert(ring_put(&ring, STR("1234\n")));
    cr_assert_not(ring_put(&ring, STR("123\n")));
    cr_assert(ring_put(&ring, STR("12\n")));
    cr_assert_str_eq(front(&ring, 100), "1234\n12\n");
    ring_deinit(&ring);
}

/* All that goes in comes out, at every size of write and every place of the wrap. */
Test(ring, round_and_round)
{
    struct ring ring;
    char in[2048];
    char got[2048];
    struct text sent = TEXT_OVER(in);
    struct text seen = TEXT_OVER(got);

    cr_assert_eq(ring_init(&ring, 23), 0);
    for (size_t i = 0; i < 200; i++) {
        struct str line = str_from(STR("abcdefgh\n"), i % 9);
        size_t before = ring.used - ring.sent;

        if (ring_put(&ring, line)) {
            text_put(&sent, line);
            before += line.len;
        }
        if (before > 0) {
            size_t len = 1 + i % 7;
            const char *text = front(&ring, 1 + i % 11);

            len = MIN(len, strlen(text));
            text_put(&seen, str_make(text, len));
            ring_sent(&ring, len);
            cr_assert(ring.sent < sizeof("abcdefgh\n") - 1, "no line is kept that is out");
        }
    }
    while (!ring_is_empty(&ring)) {
        const char *text = front(&ring, 5);

        text_puts(&seen, text);
        ring_sent(&ring, strlen(text));
    }
    cr_assert(sent.len > 400);
    cr_assert(str_eq(text_str(&sent), text_str(&seen)));
    ring_deinit(&ring);
}

/* How much of the ring's memory it has of the kernel. */
static size_t resident_bytes(const struct ring *ring)
{
    static unsigned char pages[2048];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *from = ring->bytes + (page - (size_t)ring->bytes % page) % page;
    size_t count = (ring->cap - (size_t)(from - ring->bytes)) / page;
    size_t total = 0;

    cr_assert(count <= sizeof(pages));
    cr_assert_eq(mincore(from, count * page, pages), 0);
    for (size_t i = 0; i < count; i++) {
        total += pages[i] % 2 * page;
    }
    return total;
}

Test(ring, gives_back_what_waiting_lines_took)
{
    static char line[1000];
    struct ring ring;

    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    cr_assert_eq(ring_init(&ring, 4 << 20), 0);
    for (int round = 0; round < 2; round++) {
        while (ring_put(&ring, str_make(line, sizeof(line)))) {
        }
        cr_assert_geq(resident_bytes(&ring), 4000000);
        ring_sent(&ring, ring.used - sizeof(line));
        cr_assert_geq(resident_bytes(&ring), 4000000, "the last one still waits");
        ring_sent(&ring, sizeof(line));
        cr_assert_leq(resident_bytes(&ring), RING_KEPT_BYTES);
    }
    ring_deinit(&ring);
}
