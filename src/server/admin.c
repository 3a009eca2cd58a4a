// SPDX-License-Identifier: MIT
#include "server/admin.h"

#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/thread.h"
#include "log/log.h"
#include "policy/snapshot.h"
#include "server/admin_private.h"
#include "server/connections.h"
#include "server/server_private.h"

#define ADDRESS_TEXT_MAX 256

/* ------------------------------------------------------------------ what is shown */

static int add_listener(struct admin_view *view, const struct socket_door *door)
{
    struct admin_listener *listener = &view->listeners[view->listener_count++];
    char address[ADDRESS_TEXT_MAX];

    socket_set_name(door->set, address, sizeof(address));
    listener->name = mem_strdup(door->listener);
    listener->address = mem_strdup(address);
    return listener->name && listener->address ? 0 : -ENOMEM;
}

void admin_view_unref(struct admin_view *view)
{
    if (!view || !ref_drop(&view->ref)) {
        return;
    }
    for (size_t i = 0; i < view->listener_count; i++) {
        mem_free((char *)(uintptr_t)view->listeners[i].name);
        mem_free((char *)(uintptr_t)view->listeners[i].address);
    }
    mem_free(view->listeners);
    snapshot_unref(view->snapshot);
    mem_free(view);
}

struct admin_view *admin_view_new(struct snapshot *snapshot, const struct socket_door *doors,
                                  size_t door_count)
{
    struct admin_view *view = mem_zalloc(sizeof(*view));
    int r = 0;

    if (!view) {
        return NULL;
    }
    ref_init(&view->ref);
    view->snapshot = snapshot_ref(snapshot);
    view->listeners = mem_zalloc((door_count + 1) * sizeof(*view->listeners));
    if (!view->listeners) {
        r = -ENOMEM;
    }
    for (size_t i = 0; i < door_count && r == 0; i++) {
        r = add_listener(view, &doors[i]);
    }
    if (r != 0) {
        admin_view_unref(view);
        return NULL;
    }
    return view;
}

void admin_view_free(struct admin_view *view)
{
    admin_view_unref(view);
}

void admin_show(struct admin *admin, struct admin_view *view)
{
    struct admin_view *before;

    view->auth = admin->server->auth;
    (void)pthread_mutex_lock(&admin->lock);
    before = admin->view;
    admin->view = view;
    (void)pthread_mutex_unlock(&admin->lock);
    admin_view_unref(before);
}

struct admin_view *admin_view_get(struct admin *admin)
{
    struct admin_view *view;

    (void)pthread_mutex_lock(&admin->lock);
    view = admin->view;
    if (view) {
        ref_take(&view->ref);
    }
    (void)pthread_mutex_unlock(&admin->lock);
    return view;
}

void admin_drain(struct admin *admin)
{
    atomic_store(&admin->draining, true);
}

/* ------------------------------------------------------------------ mail */

static void on_mail(void *arg, struct mail *mail)
{
    struct admin_mail *letter = CONTAINER_OF(mail, struct admin_mail, mail);

    letter->read(arg, letter);
}

void admin_tell(struct admin *admin, struct admin_mail *mail)
{
    mailbox_send(admin->inbox, &mail->mail);
}

void admin_ask(struct admin *admin, struct admin_mail *mail)
{
    mailbox_send(admin->to_main, &mail->mail);
}

static void read_listen(struct admin *admin, struct admin_mail *mail)
{
    const struct socket_set *set = admin->wanted;

    (void)mail;
    admin_http_listen(admin, set ? set->fds[0] : -1);
    admin->changed(admin->changed_arg);
}

void admin_listen(struct admin *admin, const struct socket_set *set, void (*changed)(void *arg),
                  void *arg)
{
    admin->wanted = set;
    admin->changed = changed;
    admin->changed_arg = arg;
    admin_tell(admin, &admin->listen_mail);
}

static void read_stop(struct admin *admin, struct admin_mail *mail)
{
    (void)mail;
    admin_http_stop(admin);
}

/* ------------------------------------------------------------------ life */

static void *run(void *arg)
{
    struct admin *admin = arg;

    thread_begin("viaduct-admin", THREAD_USUAL);
    if (loop_run(admin->loop) != 0) {
        log_event(LOG_ERROR, "admin", "polling failed: the admin socket is dead");
    }
    return NULL;
}

static int build(struct admin *admin)
{
    int r = loop_new(&admin->loop);

    if (r == 0) {
        r = mailbox_new(admin->loop, on_mail, admin, &admin->inbox);
    }
    if (r == 0) {
        r = mailbox_new(admin->server->loop, on_mail, admin, &admin->to_main);
    }
    if (r == 0) {
        r = connections_new(admin->loop, admin->shop, &admin->connections);
    }
    return r == 0 ? admin_http_init(admin) : r;
}

/* Of one whose thread does not run. What waits for main is answered, and what waits for us read,
 * as long as there is somebody to read it. */
static void take_apart(struct admin *admin)
{
    mailbox_free(admin->to_main);
    mailbox_free(admin->inbox);
    admin_http_deinit(admin);
    connections_free(admin->connections);
    loop_free(admin->loop);
    admin_view_unref(admin->view);
    (void)pthread_mutex_destroy(&admin->lock);
    mem_free(admin);
}

int admin_new(struct server *s, struct admin_view *view, const struct socket_set *set,
              struct admin **ret)
{
    struct admin *admin = mem_zalloc(sizeof(*admin));
    int r;

    if (!admin) {
        admin_view_unref(view);
        return -ENOMEM;
    }
    admin->server = s;
    view->auth = s->auth;
    admin->view = view;
    admin->shop = &s->shop;
    admin->progress = &s->reload.progress;
    admin->start_ms = clock_mono_ms();
    admin->listen_mail.read = read_listen;
    admin->stop_mail.read = read_stop;
    list_init(&admin->waiting);
    (void)pthread_mutex_init(&admin->lock, NULL);
    r = build(admin);
    if (r == 0) {
        admin_http_listen(admin, set ? set->fds[0] : -1);
        r = -pthread_create(&admin->thread, NULL, run, admin);
    }
    if (r != 0) {
        take_apart(admin);
        return r;
    }
    *ret = admin;
    return 0;
}

void admin_free(struct admin *admin)
{
    if (!admin) {
        return;
    }
    admin_tell(admin, &admin->stop_mail);
    (void)pthread_join(admin->thread, NULL);
    take_apart(admin);
}
