// SPDX-License-Identifier: MIT
#include "io/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"

struct mailbox {
    pthread_mutex_t lock;
    struct list letters; /* under lock */
    bool closed;         /* under lock */
    int fd;              /* eventfd: non-zero while letters wait */
    struct loop_watch *watch;
    void (*handle)(void *arg, struct mail *mail);
    void *arg;
};

static void deliver(struct mailbox *mailbox)
{
    struct list batch;

    list_init(&batch);
    (void)pthread_mutex_lock(&mailbox->lock);
    list_splice_back(&batch, &mailbox->letters);
    (void)pthread_mutex_unlock(&mailbox->lock);
    while (!list_empty(&batch)) {
        struct mail *mail = LIST_FIRST(&batch, struct mail, node);

        list_remove(&mail->node);
        mailbox->handle(mailbox->arg, mail);
    }
}

static void on_ready(void *arg, int fd, unsigned what)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));

    (void)what;
    (void)n; /* EAGAIN: the letters were taken by an earlier turn */
    deliver(arg);
}

int mailbox_new(struct loop *loop, void (*handle)(void *arg, struct mail *mail), void *arg,
                struct mailbox **ret)
{
    struct mailbox *mailbox = mem_zalloc(sizeof(*mailbox));
    int r;

    if (!mailbox) {
        return -ENOMEM;
    }
    mailbox->handle = handle;
    mailbox->arg = arg;
    list_init(&mailbox->letters);
    mailbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mailbox->fd < 0) {
        r = -errno;
        mem_free(mailbox);
        return r;
    }
    r = loop_watch_new(loop, mailbox->fd, LOOP_READ, on_ready, mailbox, &mailbox->watch);
    if (r != 0) {
        (void)close(mailbox->fd);
        mem_free(mailbox);
        return r;
    }
    (void)pthread_mutex_init(&mailbox->lock, NULL);
    *ret = mailbox;
    return 0;
}

void mailbox_free(struct mailbox *mailbox)
{
    if (!mailbox) {
        return;
    }
    deliver(mailbox);
    loop_watch_free(mailbox->watch);
    (void)close(mailbox->fd);
    (void)pthread_mutex_destroy(&mailbox->lock);
    mem_free(mailbox);
}

static void wake(struct mailbox *mailbox)
{
    uint64_t one = 1;
    ssize_t n = write(mailbox->fd, &one, sizeof(one));

    (void)n; /* EAGAIN: the counter is full, so the receiver is awake already */
}

/* False when it is closed and must be open. */
static bool put(struct mailbox *mailbox, struct mail *mail, bool must_be_open)
{
    bool is_taken;
    bool was_empty;

    list_init(&mail->node);
    (void)pthread_mutex_lock(&mailbox->lock);
    was_empty = list_empty(&mailbox->letters);
    is_taken = !mailbox->closed || !must_be_open;
    if (is_taken) {
        list_push_back(&mailbox->letters, &mail->node);
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    if (is_taken && was_empty) {
        wake(mailbox);
    }
    return is_taken;
}

void mailbox_send(struct mailbox *mailbox, struct mail *mail)
{
    (void)put(mailbox, mail, false);
}

bool mailbox_offer(struct mailbox *mailbox, struct mail *mail)
{
    return put(mailbox, mail, true);
}

void mailbox_close(struct mailbox *mailbox)
{
    (void)pthread_mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    (void)pthread_mutex_unlock(&mailbox->lock);
    deliver(mailbox);
}
