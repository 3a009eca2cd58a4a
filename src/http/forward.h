// SPDX-License-Identifier: MIT
#pragma once

/*
 * What a proxy changes in a head before it goes on (RFC 9110 7.6): pure
 * functions on a message's field list. Fields that end here are marked
 * dropped, ours are appended; the order of the others is kept.
 */

#include <stdbool.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "http/message.h"

/* Options that Connection may name in one message; none has a use for more than a few. */
#define FORWARD_MAX_OPTIONS 100

enum forward_client { FORWARD_CLIENT_OFF, FORWARD_CLIENT_RFC7239, FORWARD_CLIENT_XFF };

struct forward_options {
    struct str via_name; /* our pseudonym in Via; empty: no Via */
    enum forward_client tell_client;
    struct addr client; /* for tell_client */
};

/* Host is rewritten from the target and put first; Connection, every field it names (never Host or
 * what frames the content), Keep-Alive, Proxy-Connection, Proxy-Authorization, TE (re-issued as
 * "TE: trailers" with its Connection option when the client sent that), Transfer-Encoding,
 * Content-Length (both written anew from request->framing) and Upgrade are dropped; Upgrade with
 * its Connection option is issued again when request->wants_upgrade (h2c taken out; without another
 * protocol no upgrade). Via is appended, Max-Forwards decremented on TRACE and OPTIONS; Expect of
 * a 1.0 client is dropped. Once per request. 0, -ENOMEM, or -E2BIG: more options than
 * FORWARD_MAX_OPTIONS. */
MUST_USE int forward_request(struct request *request, const struct forward_options *options);

/* The same for a response towards the client; framing is how the body will go out to it, close
 * whether our side of the connection ends after it ("Connection: close"; for a 1.0 client too). For
 * 101, Upgrade and its Connection option are kept. Date is added when missing (not to interim
 * responses); Proxy-Authenticate of an origin is dropped. keep_length: HEAD and 304 keep the
 * origin's Content-Length though no body follows. Errors as above. */
struct forward_response_options {
    struct str via_name;
    struct framing framing;
    bool close;
    bool client_is_1_0; /* "Connection: close" / no keep-alive promise; never Transfer-Encoding */
    bool keep_length;
};
MUST_USE int forward_response(struct response *response,
                              const struct forward_response_options *options);

/* Trailer fields: drops those that may not stand there (framing, routing, authentication,
 * Connection-nominated and hop-by-hop fields; RFC 9110 6.5.1). */
void forward_trailers(struct field_list *trailers);
/* Whether some Via entry was received by pseudonym name (RFC 9110 7.6.3): a loop. Never by the
 * empty name. */
bool forward_has_via(const struct field_list *fields, struct str name);
