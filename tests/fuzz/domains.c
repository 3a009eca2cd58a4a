// SPDX-License-Identifier: MIT

/*
 * The list reader: whatever the text, it is read, and what a plain second reader finds in it is
 * what a look-up says, for every name that stands in the text, for those above and below it, and
 * for names that come close.
 */

#include "policy/domains.h"

#include <string.h>
#include <strings.h>

#include "base/host.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "fuzz.h"

#define MODEL_MAX 4096

/* One name as the text lists it. */
struct item {
    char name[HOST_NAME_MAX_BYTES + 1];
    bool itself, below;
};

/* The second reader: by the manual's words, without a thought for speed. */
struct model {
    struct item items[MODEL_MAX];
    size_t count;
};

static void model_add(struct model *model, struct str text, bool itself, bool below)
{
    struct host host;

    if (host_parse_bare(text, &host) != 0 || host.is_literal || model->count == MODEL_MAX) {
        return;
    }
    model->items[model->count].itself = itself;
    model->items[model->count].below = below;
    memcpy(model->items[model->count++].name, host.name, sizeof(host.name));
}

static bool is_blank(char c)
{
    return c != '\0' && strchr(" \t\v\f\r", c);
}

static bool is_local(struct str word)
{
    static const char *const names[] = {"localhost",      "localhost.localdomain", "local",
                                        "broadcasthost",  "ip6-localhost",         "ip6-loopback",
                                        "ip6-localnet",   "ip6-mcastprefix",       "ip6-allnodes",
                                        "ip6-allrouters", "ip6-allhosts"};
    struct host host;

    if (host_parse_bare(word, &host) != 0 || host.is_literal) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(host.name, names[i]) == 0) {
            return true;
        }
    }
    return str_ends(host_name(&host), STR(".localhost"));
}

/* Words[0] is an address: what follows are names, up to a '#'. */
static void model_hosts(struct model *model, const struct str *words, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct str word = str_head(words[i], str_find(words[i], '#'));

        if (!is_local(word)) {
            model_add(model, word, true, true);
        }
        if (word.len < words[i].len) {
            return;
        }
    }
}

static void model_entry(struct model *model, struct str word)
{
    if (word.len > 3 && str_starts(word, STR("||")) && str_ends(word, STR("^"))) {
        model_add(model, str_from(str_head(word, word.len - 1), 2), true, true);
    } else if (str_starts(word, STR("="))) {
        model_add(model, str_from(word, 1), true, false);
    } else if (str_starts(word, STR("*."))) {
        model_add(model, str_from(word, 2), false, true);
    } else if (str_starts(word, STR("."))) {
        model_add(model, str_from(word, 1), true, true);
    } else {
        model_add(model, word, true, true);
    }
}

static void model_line(struct model *model, struct str line)
{
    static struct str words[4096];
    struct host host;
    size_t count = 0;

    while (line.len > 0 && count < ARRAY_LEN(words)) {
        size_t len = 0;

        while (len < line.len && !is_blank(line.ptr[len])) {
            len++;
        }
        if (len > 0) {
            words[count++] = str_head(line, len);
        }
        if (len > 0 && line.ptr[0] == '#') {
            count--;
            break;
        }
        line = str_from(line, len + 1);
    }
    if (count == 0 || words[0].ptr[0] == '!') {
        return;
    }
    if (host_parse_bare(str_head(words[0], str_find(words[0], '%')), &host) == 0 &&
        host.is_literal) {
        model_hosts(model, words, count);
    } else if (count == 1) {
        model_entry(model, words[0]);
    }
}

static void model_read(struct model *model, struct str text)
{
    model->count = 0;
    while (text.len > 0) {
        struct str line = str_head(text, str_find(text, '\n'));

        text = str_from(text, line.len + 1);
        if (str_starts(line, STR("\xef\xbb\xbf"))) {
            line = str_from(line, 3);
        }
        model_line(model, line);
    }
}

static bool model_has(const struct model *model, struct str name)
{
    for (size_t i = 0; i < model->count; i++) {
        const struct item *item = &model->items[i];
        struct str listed = str_of(item->name);

        if (item->itself && str_eq(name, listed)) {
            return true;
        }
        if (item->below && name.len > listed.len && str_ends(name, listed) &&
            name.ptr[name.len - listed.len - 1] == '.') {
            return true;
        }
    }
    return false;
}

/* Of a set of names without those that stand twice and those below others. */
static size_t model_size(const struct model *model)
{
    size_t count = 0;

    for (size_t i = 0; i < model->count; i++) {
        struct str name = str_of(model->items[i].name);
        struct str up = str_from(name, str_find(name, '.') + 1);
        bool is_first = true;
        bool is_below = false;

        for (size_t k = 0; k < i && is_first; k++) {
            is_first = !str_eq(name, str_of(model->items[k].name));
        }
        for (size_t k = 0; k < model->count && !is_below; k++) {
            struct str listed = str_of(model->items[k].name);

            is_below = model->items[k].below && up.len >= listed.len && str_ends(up, listed) &&
                       (up.len == listed.len || up.ptr[up.len - listed.len - 1] == '.');
        }
        count += is_first && !is_below;
    }
    return count;
}

static void compare(const struct domains *domains, const struct model *model, struct str name)
{
    CHECK(domains_has(domains, name) == model_has(model, name), "%.*s", STR_ARG(name));
}

static void compare_around(const struct domains *domains, const struct model *model,
                           struct str name)
{
    char longer[HOST_NAME_MAX_BYTES + 8];
    int len = snprintf(longer, sizeof(longer), "w.%.*s", STR_ARG(name));

    compare(domains, model, str_make(longer, (size_t)len));
    longer[1] = 'x';
    compare(domains, model, str_make(longer, (size_t)len));
    longer[len - 1] = '_';
    compare(domains, model, str_make(longer, (size_t)len));
    while (name.len > 0) {
        compare(domains, model, name);
        compare(domains, model, str_from(name, 1));
        name = str_from(name, str_find(name, '.') + 1);
    }
}

static void check_messages(const struct conf_messages *messages,
                           const struct domains_counts *counts)
{
    CHECK(messages->error_count == 0, "%zu", messages->error_count);
    CHECK(messages->count == MIN(counts->broken, 10) + (counts->broken > 10) +
                                 (counts->filters > 0) + (counts->foreign > 0) +
                                 (counts->names == 0),
          "%zu messages", messages->count);
    for (size_t i = 0; i < messages->count; i++) {
        for (const char *c = messages->items[i].text; *c; c++) {
            CHECK(*c >= ' ' && *c < 0x7f, "%s", messages->items[i].text);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct str text = str_make((const char *)data, size);
    struct conf_messages messages = {0};
    struct domains *domains = NULL;
    const struct domains_counts *counts;

    CHECK(domains_parse(text, "list", &messages, &domains) == 0, "it is read");
    counts = domains_counts(domains);
    model_read(&model, text);
    if (model.count < MODEL_MAX) {
        CHECK(counts->names + counts->folded == model.count, "%zu names, %zu folded, not %zu",
              counts->names, counts->folded, model.count);
        CHECK(counts->names == model_size(&model), "%zu names, not %zu", counts->names,
              model_size(&model));
        for (size_t i = 0; i < model.count; i++) {
            compare_around(domains, &model, str_of(model.items[i].name));
        }
    }
    check_messages(&messages, counts);
    domains_unref(domains);
    conf_messages_deinit(&messages);
    return 0;
}
