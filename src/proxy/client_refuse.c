// SPDX-License-Identifier: MIT
#include "http/target.h"
#include "proxy/client_private.h"

enum reply_reason client_reason_of(enum h1_error error)
{
    switch (error) {
    case H1_E_METHOD:
        return REPLY_METHOD;
    case H1_E_VERSION:
        return REPLY_VERSION;
    case H1_E_TARGET_TOO_LONG:
        return REPLY_TARGET_TOO_LONG;
    case H1_E_HEAD_TOO_LARGE:
        return REPLY_HEAD_TOO_LARGE;
    case H1_E_CODING:
        return REPLY_CODING;
    case H1_E_NO_MEMORY:
        return REPLY_NO_MEMORY;
    case H1_E_NONE:
    case H1_E_MALFORMED:
    case H1_E_FRAMING:
    case H1_E_HOST:
    case H1_E_TRUNCATED:
        break;
    }
    return REPLY_MALFORMED;
}

enum reply_reason client_reason_of_target(int error)
{
    switch (error) {
    case TARGET_NOT_PROXY:
        return REPLY_NOT_PROXY;
    case TARGET_SCHEME:
        return REPLY_SCHEME;
    case TARGET_HTTPS:
        return REPLY_HTTPS_SCHEME;
    default:
        return error < 0 ? REPLY_NO_MEMORY : REPLY_BAD_TARGET;
    }
}
