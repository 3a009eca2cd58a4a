// SPDX-License-Identifier: MIT
#pragma once

/*
 * A configuration while it is being loaded: conf_source.c reads files and
 * hands each section and value to conf.c. Private to those two.
 */

#include <stdbool.h>

#include "base/str.h"
#include "conf/conf.h"

struct conf_place;
struct conf_section;
struct conf_state;

struct conf_loader {
    struct conf *conf;
    struct conf_state *state;
    struct conf_messages *messages;
    unsigned file_count;
    int error; /* -ENOMEM once memory was out; loading goes on, its result is thrown away */
};

/* conf_source.c: a file and all that it includes. What is wrong goes to the messages. */
void conf_read_source(struct conf_loader *loader, const char *path);

/* The section of this name, a new one where that is allowed; NULL after an error was told. */
struct conf_section *conf_open_section(struct conf_loader *loader, struct str name,
                                       struct conf_origin origin);
/* conf_rules.c: a line of a rule table, at the end or, with replaces, in the place of the one that
 * has its name. */
void conf_set_rule(struct conf_loader *loader, const struct conf_section *section, struct str name,
                   struct str text, const struct conf_place *place, bool replaces);

/* One line of a file, or one option: that replaces what files and earlier options say. */
void conf_set_value(struct conf_loader *loader, struct conf_section *section, struct str name,
                    struct str value, const struct conf_place *place, bool replaces);
