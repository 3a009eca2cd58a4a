// SPDX-License-Identifier: MIT
#pragma once

/* Methods that rules name, seen by who knows which ones there are. */

struct conf_messages;
struct policy;

/* Adds a warning to messages for each that the parser does not know: a request with it never
 * reaches the rules, so most likely it is misspelt. */
void methods_check(const struct policy *policy, struct conf_messages *messages);
