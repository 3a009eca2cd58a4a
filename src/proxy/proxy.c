// SPDX-License-Identifier: MIT
#include "proxy/proxy.h"

#include "base/text.h"
#include "io/io.h"
#include "io/stream.h"
#include "proxy/client_private.h"
#include "proxy/tunnel.h"

static void on_hungry(struct deadline *deadline)
{
    struct proxy *proxy = CONTAINER_OF(deadline, struct proxy, hungry);

    buf_account_settle(&proxy->io->account);
    client_feed_hungry(proxy);
}

void proxy_init_lists(struct proxy *proxy)
{
    list_init(&proxy->idle_clients);
    list_init(&proxy->silent_clients);
    list_init(&proxy->active_clients);
    list_init(&proxy->hungry_clients);
    list_init(&proxy->tunnels);
    deadline_init(&proxy->hungry, on_hungry);
}

struct str proxy_next_id(struct proxy *proxy, char dst[PROXY_ID_MAX])
{
    struct text id = text_over(dst, PROXY_ID_MAX);

    text_hex(&id, proxy->worker, 1);
    text_char(&id, '-');
    text_hex(&id, ++proxy->next_id, 1);
    return text_str(&id);
}

/* Whose next request lies unread is idle no longer. */
static bool end_if_quiet(struct client *c)
{
    bool quiet = stream_is_quiet(c->stream);

    if (quiet) {
        client_end(c, NULL, false);
    }
    return quiet;
}

static void end_quiet_clients(struct list *clients)
{
    LIST_FOR_EACH (node, next, clients) {
        (void)end_if_quiet(LIST_ITEM(node, struct client, node));
    }
}

static void end_clients(struct list *clients, const char *end, bool reset)
{
    while (!list_empty(clients)) {
        client_end(LIST_FIRST(clients, struct client, node), end, reset);
    }
}

bool proxy_shed_client(struct proxy *proxy)
{
    LIST_FOR_EACH (node, next, &proxy->idle_clients) {
        if (end_if_quiet(LIST_ITEM(node, struct client, node))) {
            return true;
        }
    }
    return false;
}

void proxy_drain(struct proxy *proxy)
{
    proxy->draining = true;
    end_quiet_clients(&proxy->idle_clients);
    client_hurry_silent(proxy);
}

void proxy_cut(struct proxy *proxy)
{
    proxy->draining = true;
    end_clients(&proxy->idle_clients, NULL, false);
    end_clients(&proxy->silent_clients, NULL, false);
    end_clients(&proxy->hungry_clients, NULL, false);
    end_clients(&proxy->active_clients, "shutdown", true);
    tunnel_cut_all(proxy, "shutdown");
}

bool proxy_is_quiet(const struct proxy *proxy)
{
    return list_empty(&proxy->active_clients);
}

bool proxy_is_empty(const struct proxy *proxy)
{
    return list_empty(&proxy->idle_clients) && list_empty(&proxy->silent_clients) &&
           list_empty(&proxy->hungry_clients) && list_empty(&proxy->active_clients) &&
           list_empty(&proxy->tunnels);
}
