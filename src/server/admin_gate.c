// SPDX-License-Identifier: MIT

/*
 * Who may ask what of the admin socket. Whoever can connect to a unix socket
 * may do all; over TCP there is no password, and any program on a machine
 * that admin.allow names may ask, a browser with somebody else's page in it
 * included.
 */

#include <event2/bufferevent.h>
#include <sys/socket.h>

#include "base/url.h"
#include "conf/conf.h"
#include "policy/snapshot.h"
#include "server/admin_private.h"

static struct addr peer_of(int fd)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(sa);

    if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && sa.ss_family == AF_UNIX) {
        return (struct addr){.kind = ADDR_UNIX};
    }
    len = sizeof(sa);
    return getpeername(fd, (struct sockaddr *)&sa, &len) == 0 ? addr_from_sockaddr(&sa)
                                                              : (struct addr){.kind = ADDR_NONE};
}

static bool is_named(const struct admin_view *view, const struct addr *peer)
{
    const struct conf *conf = view->snapshot->conf;

    return conf_addrs_have(conf->admin.allow, conf->admin.allow_count, peer);
}

bool admin_is_allowed(struct admin *admin, int fd)
{
    struct admin_view *view = admin_view_get(admin);
    const struct addr peer = peer_of(fd);
    bool is_allowed = peer.kind == ADDR_UNIX || !view || is_named(view, &peer);

    admin_view_unref(view);
    return is_allowed;
}

static int fd_of(struct evhttp_request *http)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(http);

    return connection ? bufferevent_getfd(evhttp_connection_get_bufferevent(connection)) : -1;
}

/* An address literal or localhost: no name that somebody else could lead here. */
static bool is_own_name(const char *authority)
{
    struct host host;
    uint16_t port;
    int error;

    return url_parse_host_port(str_of(authority), &host, &port, &error) == 0 &&
           (host.is_literal || host_is_localhost(&host));
}

static const char *field_of(struct evhttp_request *http, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(http), name);
}

static bool is_misdirected(struct evhttp_request *http)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
    const char *host = field_of(http, "Host");
    const char *in_uri = uri ? evhttp_uri_get_host(uri) : NULL;

    return (host && !is_own_name(host)) || (in_uri && !is_own_name(in_uri));
}

/* A page of somebody else's in a browser of this machine may send requests, but not hide whose it
 * is. */
static bool is_foreign(struct evhttp_request *http)
{
    const char *origin = field_of(http, "Origin");
    const char *host = field_of(http, "Host");
    struct str scheme = STR("http://");

    return origin && !(host && str_starts(str_of(origin), scheme) &&
                       str_ieq(str_from(str_of(origin), scheme.len), str_of(host)));
}

bool admin_admit(struct admin_request *request)
{
    const struct conf *conf = request->view->snapshot->conf;
    const struct addr peer = peer_of(fd_of(request->http));

    if (peer.kind == ADDR_UNIX) {
        request->may_see = true;
        request->may_write = true;
        return true;
    }
    if (!is_named(request->view, &peer)) {
        admin_answer_error(request, 403, "admin.allow does not name your address");
        return false;
    }
    if (is_misdirected(request->http)) {
        admin_answer_error(request, 421, "ask by address, or as localhost");
        return false;
    }
    request->may_see = conf->admin.write && !is_foreign(request->http);
    request->may_write = request->may_see;
    return true;
}
