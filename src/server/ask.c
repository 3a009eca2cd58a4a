// SPDX-License-Identifier: MIT
#include "server/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "server/admin_address.h"

#define HEAD_MAX 8192
#define READ_BYTES ((size_t)16 << 10)
#define TAKE_S 10 /* a daemon that lives takes a connection, and a question, at once */

/* ------------------------------------------------------------------ the way there */

/* Of a unix socket too connect(2) waits, until the queue has room. A time-out is EINPROGRESS or
 * EAGAIN; EINTR only says that we were stopped meanwhile. */
static int connect_within(int fd, const struct sockaddr *sa, socklen_t len)
{
    const struct timeval wait = {.tv_sec = TAKE_S};
    int r;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    do {
        r = connect(fd, sa, len) == 0 ? 0 : -errno;
    } while (r == -EINTR);
    return r == -EINPROGRESS || r == -EAGAIN ? -ETIMEDOUT : r;
}

static int dial(const struct admin_address *address, unsigned wait_s, int *ret_fd)
{
    const struct timeval wait = {.tv_sec = wait_s};
    struct sockaddr_storage sa = {.ss_family = AF_UNIX};
    socklen_t len;
    int fd;
    int r;

    if (address->is_unix) {
        struct sockaddr_un *un = (struct sockaddr_un *)(void *)&sa;

        len = sizeof(*un);
        (void)snprintf(un->sun_path, sizeof(un->sun_path), "%s", address->path);
    } else {
        len = addr_to_sockaddr(&address->addr, &sa);
    }
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    r = connect_within(fd, (const struct sockaddr *)&sa, len);
    if (r != 0) {
        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* ------------------------------------------------------------------ the question */

static int send_all(int fd, struct str data)
{
    while (data.len > 0) {
        ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
        data = str_from(data, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

static int send_question(int fd, const struct ask_question *question)
{
    char buf[HEAD_MAX];
    struct text head = TEXT_OVER(buf);

    text_printf(&head, "%s %.*s HTTP/1.1\r\nHost: ", question->method, STR_ARG(question->target));
    if (question->address->is_unix) {
        text_puts(&head, "localhost");
    } else {
        admin_address_put(&head, question->address);
    }
    text_printf(&head, "\r\nConnection: close\r\nAccept: %s\r\nContent-Length: 0\r\n\r\n",
                question->json ? "application/json" : "text/plain");
    return head.full ? -E2BIG : send_all(fd, text_str(&head));
}

/* ------------------------------------------------------------------ the answer */

/* Nothing has come in time: 0 to wait on. */
static int judge_silence(const struct ask_question *question)
{
    return question->silent ? question->silent(question->arg) : -ETIMEDOUT;
}

static int read_all(int fd, const struct ask_question *question, char **ret, size_t *ret_len)
{
    char *memory = NULL;
    size_t len = 0;

    for (;;) {
        char *grown = mem_realloc_array(memory, len + READ_BYTES, 1);
        ssize_t n = grown ? recv(fd, grown + len, READ_BYTES, 0) : -1;
        int error = grown ? -errno : -ENOMEM;

        memory = grown ? grown : memory;
        if (n == 0) {
            break;
        }
        if (n < 0 && error == -EAGAIN) {
            error = judge_silence(question);
        }
        if (n > 0) {
            len += (size_t)n;
        } else if (error != 0 && error != -EINTR) {
            mem_free(memory);
            return error;
        }
    }
    *ret = memory;
    *ret_len = len;
    return 0;
}

static bool parse_status(struct str line, unsigned *ret)
{
    uint64_t status;

    if (!str_starts(line, STR("HTTP/1.")) || line.len < 12 ||
        !str_parse_u64(str_head(str_from(line, 9), 3), 599, &status)) {
        return false;
    }
    *ret = (unsigned)status;
    return true;
}

/* Makes of chunks (RFC 9112 7.1), in the memory that they stand in, what they say. False: not all
 * have come. */
static bool join_chunks(struct str *body)
{
    char *memory = (char *)(uintptr_t)body->ptr;
    struct str rest = *body;
    size_t len = 0;

    while (rest.len > 0) {
        struct str head = str_trim(str_head(rest, str_find(rest, '\r')));
        uint64_t size;

        rest = str_from(rest, str_find(rest, '\n') + 1);
        if (!str_parse_hex(head, rest.len, &size)) {
            return false;
        }
        if (size == 0) {
            *body = str_make(memory, len);
            return true;
        }
        memmove(memory + len, rest.ptr, (size_t)size);
        len += (size_t)size;
        rest = str_from(rest, (size_t)size + strlen("\r\n"));
    }
    return false;
}

/* Reads head; false: it is none, or not all of the body has come. */
static bool parse_answer(struct str rest, struct ask_answer *ret)
{
    uint64_t length = UINT64_MAX;
    bool is_chunked = false;
    uint64_t code;
    struct str line = str_cut(&rest, '\n');

    if (!parse_status(line, &ret->status)) {
        return false;
    }
    while (rest.ptr) {
        struct str value = str_cut(&rest, '\n');
        struct str name;

        value = str_head(value, str_find(value, '\r'));
        if (value.len == 0) {
            ret->body = rest.ptr ? rest : STR("");
            return is_chunked ? join_chunks(&ret->body)
                              : rest.ptr && (length == UINT64_MAX || length == rest.len);
        }
        name = str_cut(&value, ':');
        if (str_ieq(name, STR("Content-Length")) &&
            !str_parse_u64(str_trim(value), UINT64_MAX - 1, &length)) {
            return false;
        }
        is_chunked = is_chunked || (str_ieq(name, STR("Transfer-Encoding")) &&
                                    str_ieq(str_trim(value), STR("chunked")));
        if (str_ieq(name, STR(ADMIN_EXIT_FIELD)) && str_parse_u64(str_trim(value), 255, &code)) {
            ret->exit_code = (int)code;
        }
    }
    return false;
}

int ask(const struct ask_question *question, struct ask_answer *ret)
{
    struct ask_answer answer = {.exit_code = -1};
    size_t len = 0;
    int fd = -1;
    int r = dial(question->address, question->wait_s, &fd);

    if (r != 0) {
        return r;
    }
    r = send_question(fd, question);
    if (r == 0) {
        r = read_all(fd, question, &answer.memory, &len);
    }
    (void)close(fd);
    if (r == 0 && !parse_answer(str_make(answer.memory, len), &answer)) {
        ask_deinit(&answer);
        r = -EPROTO;
    }
    if (r == 0) {
        *ret = answer;
    }
    return r;
}

void ask_deinit(struct ask_answer *answer)
{
    mem_free(answer->memory);
    *answer = (struct ask_answer){0};
}
