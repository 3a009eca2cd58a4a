// SPDX-License-Identifier: MIT
#pragma once

/*
 * What a name server's reply says: the library reads it, and this makes an
 * answer of ours of it.
 */

#include "resolve/dns_answer.h"

/* ares_status is one of the library's ARES_* codes. */
enum resolve_status dns_reply_status(int ares_status);
/* Adds the addresses of a reply of len bytes, and the shortest of their TTLs, to ret, which is
 * empty. An ARES_* code; without ARES_SUCCESS ret is as it was. */
int dns_reply_read(enum dns_family family, const unsigned char *reply, int len,
                   struct dns_answer *ret);
