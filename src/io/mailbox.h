// SPDX-License-Identifier: MIT
#pragma once

/*
 * Messages from one thread to another's loop: the only thing that crosses
 * threads at run time. The sender gives a letter away; the receiver's handler
 * gets it on its own loop and owns it from then on.
 */

#include <stdbool.h>

#include "base/attr.h"
#include "base/list.h"

struct loop;
struct mailbox;

/* Embedded at the front of what is sent. */
struct mail {
    struct list node;
};

/* handle is called on loop's thread, once a letter, in the order they were sent. 0 or negative
 * errno. */
MUST_USE int mailbox_new(struct loop *loop, void (*handle)(void *arg, struct mail *mail), void *arg,
                         struct mailbox **ret);
/* On the loop's thread, after all senders have stopped. Letters not yet read are handed to handle
 * first. */
void mailbox_free(struct mailbox *mailbox);
/* From any thread; mail is taken. */
void mailbox_send(struct mailbox *mailbox, struct mail *mail);

/* For mail that wants an answer, of a loop that may have ended: from mailbox_close on, which is
 * called on the loop's thread and hands over what is there, mailbox_offer returns false and takes
 * nothing. */
MUST_USE bool mailbox_offer(struct mailbox *mailbox, struct mail *mail);
void mailbox_close(struct mailbox *mailbox);
