// SPDX-License-Identifier: MIT

/* The table of what can be asked, and the answers that need nobody else. */

#include "base/attr.h"
#include "base/text.h"
#include "server/admin_private.h"
#include "server/json.h"

const struct admin_route admin_routes[] = {
    {"/", EVHTTP_REQ_GET, false, admin_route_index, "this list"},
    {"/healthz", EVHTTP_REQ_GET, false, admin_route_healthz,
     "200 while new clients are welcome, 503 from the first moment of a drain"},
    {"/status", EVHTTP_REQ_GET, false, admin_route_status,
     "version, configuration, and what is in use of each limit"},
    {"/connections", EVHTTP_REQ_GET, false, admin_route_connections,
     "clients, requests and tunnels; ?would-deny: those that would be refused now"},
    {"/connections", EVHTTP_REQ_DELETE, true, admin_route_close,
     "?would-deny: ends those that would be refused now"},
    {"/connections/", EVHTTP_REQ_DELETE, true, admin_route_kill, "ends the one of this ID"},
    {"/rules", EVHTTP_REQ_GET, false, admin_route_rules,
     "every line of the policy in force, and how often it has decided"},
    {"/explain", EVHTTP_REQ_GET, false, admin_route_explain,
     "?target=URL or HOST:PORT, and client, user, method, listener, time, resolve as the command "
     "explain has them"},
    {"/reload", EVHTTP_REQ_GET, false, admin_route_progress,
     "how far the reload is that is under way"},
    {"/reload", EVHTTP_REQ_POST, true, admin_route_reload,
     "reads the configuration again; 422 with every error when it is refused"},
};
const size_t admin_route_count = ARRAY_LEN(admin_routes);

static bool is_for(const struct admin_route *route, struct admin_request *request)
{
    struct str path = str_of(route->path);

    if (path.len > 1 && route->path[path.len - 1] == '/') {
        request->rest = str_from(request->path, path.len);
        return str_starts(request->path, path) && request->rest.len > 0;
    }
    return str_eq(request->path, path);
}

static const char *method_name(enum evhttp_cmd_type method)
{
    return method == EVHTTP_REQ_POST     ? "POST"
           : method == EVHTTP_REQ_DELETE ? "DELETE"
                                         : "GET, HEAD";
}

void admin_dispatch(struct admin_request *request)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(request->http);
    char buf[64];
    struct text allowed = TEXT_OVER(buf);

    method = method == EVHTTP_REQ_HEAD ? EVHTTP_REQ_GET : method;
    for (size_t i = 0; i < admin_route_count; i++) {
        const struct admin_route *route = &admin_routes[i];

        if (!is_for(route, request)) {
            continue;
        }
        if (route->method != method) {
            text_puts(&allowed, allowed.len > 0 ? ", " : "");
            text_puts(&allowed, method_name(route->method));
        } else if (route->is_change && !request->may_write) {
            admin_answer_error(request, 403,
                               "over TCP nothing is changed unless admin.write is on");
            return;
        } else {
            route->handle(request);
            return;
        }
    }
    if (allowed.len > 0) {
        admin_set_field(request, "Allow", text_cstr(&allowed));
        admin_answer_error(request, 405, "this page takes %s", buf);
    } else {
        admin_answer_error(request, 404, "no such page; / names those there are");
    }
}

/* ------------------------------------------------------------------ answers */

static const char *method_text(enum evhttp_cmd_type method)
{
    return method == EVHTTP_REQ_GET ? "GET" : method == EVHTTP_REQ_POST ? "POST" : "DELETE";
}

void admin_route_index(struct admin_request *request)
{
    FILE *out = request->out;

    if (!request->wants_text) {
        (void)fputs("{\"routes\":[", out);
    }
    for (size_t i = 0; i < admin_route_count; i++) {
        const struct admin_route *route = &admin_routes[i];

        if (request->wants_text) {
            (void)fprintf(out, "%-6s  %-16s  %s\n", method_text(route->method), route->path,
                          route->help);
            continue;
        }
        json_put_member(out, i > 0 ? ",{" : "{", "method", str_of(method_text(route->method)));
        json_put_member(out, ",", "path", str_of(route->path));
        json_put_member(out, ",", "help", str_of(route->help));
        (void)fputc('}', out);
    }
    if (!request->wants_text) {
        (void)fputs("]}\n", out);
    }
    admin_answer(request, 200);
}

void admin_route_healthz(struct admin_request *request)
{
    bool draining = atomic_load(&request->admin->draining);
    const char *state = draining ? "draining" : "ok";

    if (request->wants_text) {
        (void)fprintf(request->out, "%s\n", state);
    } else {
        json_put_member(request->out, "{", "state", str_of(state));
        (void)fputs("}\n", request->out);
    }
    admin_answer(request, draining ? 503 : 200);
}
