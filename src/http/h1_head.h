// SPDX-License-Identifier: MIT
#pragma once

/*
 * What a complete head means for the connection it came over: framing, Host,
 * persistence, expectations. It reads the fields of a message and fills in
 * the rest of it. Private to h1_parse.
 */

#include "base/attr.h"
#include "http/h1_parse.h"

/* Method, target, version and fields are set. H1_E_NONE, or the error and *ret_text. */
MUST_USE enum h1_error h1_head_request(struct request *request, const char **ret_text);
/* Status, version and fields are set; to: the method that the response answers. */
MUST_USE enum h1_error h1_head_response(struct response *response, enum method to,
                                        const char **ret_text);

/* The error that a framing_error is here. */
enum h1_error h1_head_framing_error(int framing_error);
