// SPDX-License-Identifier: MIT

/*
 * Loading: files and options become sections and values, in the order in
 * which they stand. Every section begins with its defaults, so that a value
 * that was refused leaves something sensible behind and the checks at the
 * end do not complain a second time.
 */
#include "conf/conf.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/conf_keys.h"
#include "conf/conf_load.h"
#include "conf/conf_parse.h"
#include "conf/conf_read.h"
#include "conf/conf_state.h"
#include "conf/conf_value.h"

#define SHOWN_VALUE_MAX 80 /* bytes of a bad value that a message shows */
#define BUILT_IN ((struct conf_origin){NULL, 0})

/* ---- Memory ---- */

const char *conf_keep(struct conf_state *state, struct str text)
{
    char *copy = arena_alloc_bytes(&state->arena, text.len + 1);

    if (copy) {
        if (text.len > 0) {
            memcpy(copy, text.ptr, text.len);
        }
        copy[text.len] = '\0';
    }
    return copy;
}

static struct conf *conf_new(void)
{
    struct conf *conf = mem_zalloc(sizeof(*conf));

    if (!conf) {
        return NULL;
    }
    conf->state = mem_zalloc(sizeof(*conf->state));
    if (!conf->state) {
        mem_free(conf);
        return NULL;
    }
    ref_init(&conf->state->ref);
    arena_pool_init(&conf->state->pool, NULL, NULL);
    arena_init(&conf->state->arena, &conf->state->pool);
    if (map_init(&conf->state->rule_names) != 0) {
        conf_free(conf);
        return NULL;
    }
    return conf;
}

struct conf *conf_share(struct conf *conf)
{
    ref_take(&conf->state->ref);
    return conf;
}

void conf_free(struct conf *conf)
{
    if (!conf || !ref_drop(&conf->state->ref)) {
        return;
    }
    for (size_t i = 0; i < conf->listener_count; i++) {
        mem_free(conf->listeners[i].binds);
    }
    mem_free(conf->listeners);
    mem_free(conf->dns.servers);
    mem_free(conf->admin.allow);
    mem_free(conf->rules);
    map_deinit(&conf->state->rule_names);
    arena_reset(&conf->state->arena);
    mem_free(conf->state);
    mem_free(conf);
}

/* ---- Sections ---- */

void *conf_section_base(struct conf *conf, const struct conf_section *section)
{
    return section->kind->is_named ? (void *)&conf->listeners[section->listener] : conf;
}

const void *conf_section_base_const(const struct conf *conf, const struct conf_section *section)
{
    return section->kind->is_named ? (const void *)&conf->listeners[section->listener] : conf;
}

static struct conf_section *find_section(const struct conf *conf, struct str name)
{
    struct conf_section *section = conf->state->sections;

    while (section && !str_eq(str_of(section->name), name)) {
        section = section->next;
    }
    return section;
}

const struct conf_listener *conf_listener_find(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        if (strcmp(conf->listeners[i].name, name) == 0) {
            return &conf->listeners[i];
        }
    }
    return NULL;
}

struct conf_origin conf_origin_of(const struct conf *conf, const char *section, const char *key)
{
    const struct conf_section *found = find_section(conf, str_of(section));
    const struct conf_key *row = conf_key_find(section, str_of(key));

    ASSERT(found && row);
    return found->slots[conf_key_index(row)].origin;
}

/* A listener that somebody wrote has no address until it is given one. */
static void set_defaults(struct conf_loader *loader, const struct conf_section *section)
{
    const struct conf_place place = {loader->state, "", BUILT_IN};
    void *base = conf_section_base(loader->conf, section);

    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        char why_buf[256];
        struct text why = TEXT_OVER(why_buf);
        int error;

        if (strcmp(key->section, section->kind->word) != 0 ||
            (key->type == CONF_TYPE_BINDS && section->origin.file)) {
            continue;
        }
        error = conf_value_set(key, base, str_of(key->default_text), &place, &why);
        ASSERT(error <= 0);
        loader->error = error ? error : loader->error;
    }
}

static int add_listener(struct conf *conf, const char *name, struct conf_origin origin)
{
    struct conf_listener *listeners =
        mem_realloc_array(conf->listeners, conf->listener_count + 1, sizeof(*listeners));

    if (!listeners) {
        return -ENOMEM;
    }
    conf->listeners = listeners;
    listeners[conf->listener_count++] = (struct conf_listener){.name = name, .origin = origin};
    return 0;
}

/* name is "server" or "listen lan"; instance is "lan", else empty. */
static struct conf_section *add_section(struct conf_loader *loader,
                                        const struct conf_section_kind *kind, struct str name,
                                        struct str instance, struct conf_origin origin)
{
    struct conf_section *section = arena_alloc(&loader->state->arena, sizeof(*section));
    struct conf_slot *slots =
        arena_alloc(&loader->state->arena, conf_key_count * sizeof(struct conf_slot));
    const char *kept_name = conf_keep(loader->state, name);
    const char *kept_instance = conf_keep(loader->state, instance);
    struct conf_section **end = &loader->state->sections;

    if (!section || !slots || !kept_name || !kept_instance ||
        (kind->is_named && add_listener(loader->conf, kept_instance, origin) != 0)) {
        loader->error = -ENOMEM;
        return NULL;
    }
    memset(slots, 0, conf_key_count * sizeof(struct conf_slot));
    *section =
        (struct conf_section){.kind = kind, .name = kept_name, .origin = origin, .slots = slots};
    section->listener = kind->is_named ? loader->conf->listener_count - 1 : 0;
    while (*end) {
        end = &(*end)->next;
    }
    *end = section;
    set_defaults(loader, section);
    return section;
}

static void add_unnamed_sections(struct conf_loader *loader)
{
    for (size_t i = 0; i < conf_section_kind_count; i++) {
        const struct conf_section_kind *kind = &conf_section_kinds[i];

        if (!kind->is_named && !kind->is_rules && !kind->is_later) {
            (void)add_section(loader, kind, str_of(kind->word), str_of(""), BUILT_IN);
        }
    }
}

static void report_unknown_section(struct conf_loader *loader, struct str name, struct str word,
                                   struct conf_origin origin)
{
    const char *near = conf_section_suggest(word);

    conf_messages_add(loader->messages, false, origin, "[%.*s]: unknown section%s%s%s",
                      STR_ARG(name), near ? "; did you mean [" : "", near ? near : "",
                      near ? "]?" : "");
}

struct conf_section *conf_open_section(struct conf_loader *loader, struct str name,
                                       struct conf_origin origin)
{
    struct str instance = name;
    struct str word = str_cut(&instance, ' ');
    const struct conf_section_kind *kind = conf_section_kind_find(word);
    struct conf_section *section = find_section(loader->conf, name);

    if (section) {
        return section;
    }
    if (!kind) {
        report_unknown_section(loader, name, word, origin);
        return NULL;
    }
    if (kind->is_later) {
        conf_messages_add(loader->messages, false, origin, "[%s]: not supported by this version",
                          kind->word);
        return NULL;
    }
    if (kind->is_named && instance.len == 0) {
        conf_messages_add(loader->messages, false, origin,
                          "[%s]: a name is missing, as in [%s lan]", kind->word, kind->word);
        return NULL;
    }
    if (!kind->is_named && instance.len > 0) {
        conf_messages_add(loader->messages, false, origin, "[%.*s]: [%s] has no name of its own",
                          STR_ARG(name), kind->word);
        return NULL;
    }
    return add_section(loader, kind, name, instance, origin);
}

/* ---- Values ---- */

static void report_include(struct conf_loader *loader, struct conf_origin origin)
{
    conf_messages_add(loader->messages, false, origin,
                      "include stands at the top, before the first [section]");
}

static void report_unknown_key(struct conf_loader *loader, const struct conf_section *section,
                               struct str name, struct conf_origin origin)
{
    const char *near = conf_key_suggest(section->kind->word, name);
    const char *other = near ? NULL : conf_key_other_section(name);

    if (str_eq(name, STR("include"))) {
        report_include(loader, origin);
    } else if (near) {
        conf_messages_add(loader->messages, false, origin, "%s.%.*s: unknown key; did you mean %s?",
                          section->name, STR_ARG(name), near);
    } else if (other) {
        conf_messages_add(loader->messages, false, origin, "%s.%.*s: unknown key; [%s] has it",
                          section->name, STR_ARG(name), other);
    } else {
        conf_messages_add(loader->messages, false, origin, "%s.%.*s: unknown key", section->name,
                          STR_ARG(name));
    }
}

static void report_twice(struct conf_loader *loader, const struct conf_section *section,
                         const struct conf_key *key, struct conf_origin first,
                         struct conf_origin origin)
{
    char buf[CONF_ORIGIN_TEXT_MAX];
    struct text where = TEXT_OVER(buf);

    conf_origin_put(&where, first);
    conf_messages_add(loader->messages, false, origin, "%s.%s is set twice, first at %s",
                      section->name, key->name, text_cstr(&where));
}

static void report_bad_value(struct conf_loader *loader, const struct conf_section *section,
                             const struct conf_key *key, struct str value, struct text *why,
                             struct conf_origin origin)
{
    bool is_long = value.len > SHOWN_VALUE_MAX;

    conf_messages_add(loader->messages, false, origin, "%s.%s = %.*s%s: %s", section->name,
                      key->name, STR_ARG(str_head(value, SHOWN_VALUE_MAX)), is_long ? "..." : "",
                      text_cstr(why));
}

static void set_key(struct conf_loader *loader, struct conf_section *section, struct str name,
                    struct str value, const struct conf_place *place, bool replaces)
{
    const struct conf_key *key = conf_key_find(section->kind->word, name);
    void *base = conf_section_base(loader->conf, section);
    char why_buf[512];
    struct text why = TEXT_OVER(why_buf);
    struct conf_slot *slot;
    int error;

    if (!key) {
        report_unknown_key(loader, section, name, place->origin);
        return;
    }
    slot = &section->slots[conf_key_index(key)];
    if (slot->lines > 0 && !replaces && !conf_value_is_list(key)) {
        report_twice(loader, section, key, slot->origin, place->origin);
        return;
    }
    if (slot->lines == 0 || replaces) {
        conf_value_clear(key, base);
        *slot = (struct conf_slot){.origin = place->origin};
    }
    slot->lines++;
    error = conf_value_set(key, base, value, place, &why);
    if (error == CONF_VALUE_BAD) {
        report_bad_value(loader, section, key, value, &why, place->origin);
    } else if (error) {
        loader->error = error;
    }
}

void conf_set_value(struct conf_loader *loader, struct conf_section *section, struct str name,
                    struct str value, const struct conf_place *place, bool replaces)
{
    if (!section->kind->is_rules) {
        set_key(loader, section, name, value, place, replaces);
    } else if (str_eq(name, STR("include"))) {
        report_include(loader, place->origin);
    } else {
        conf_set_rule(loader, section, name, value, place, replaces);
    }
}

/* ---- Options ---- */

static void apply_override(struct conf_loader *loader, const char *option, struct conf_place place)
{
    struct str value = str_of(option);
    struct str path = str_cut(&value, '=');
    size_t dot = str_rfind(path, '.');
    struct str name = str_trim(str_head(path, dot));
    struct conf_section *section;

    if (!value.ptr || dot == path.len || conf_name_fault(name, 2)) {
        conf_messages_add(loader->messages, false, place.origin, "expected SECTION.KEY=VALUE");
        return;
    }
    value = str_trim(value);
    if (value.len > CONF_LINE_MAX) {
        conf_messages_add(loader->messages, false, place.origin, "the value is longer than 64K");
        return;
    }
    if (!conf_value_is_plain(value)) {
        conf_messages_add(loader->messages, false, place.origin,
                          "the value could not stand in a file: a control character or ' ;'");
        return;
    }
    section = conf_open_section(loader, name, place.origin);
    if (section) {
        conf_set_value(loader, section, str_trim(str_from(path, dot + 1)), value, &place, true);
    }
}

static void apply_overrides(struct conf_loader *loader, const struct conf_load_options *options)
{
    char buf[PATH_MAX];
    struct text dir = TEXT_OVER(buf);
    const char *kept;

    conf_dir_put(&dir, NULL);
    kept = conf_keep(loader->state, text_str(&dir));
    if (!kept) {
        loader->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < options->override_count; i++) {
        const struct conf_origin origin = {CONF_OPTION_FILE, (unsigned)i + 1};

        apply_override(loader, options->overrides[i],
                       (struct conf_place){loader->state, kept, origin});
    }
}

/* ---- The whole ---- */

/* The built-in listener stands only where no other does; every other one needs an address. */
static void complete_listeners(struct conf_loader *loader)
{
    const struct conf_key *address = conf_key_find("listen", STR("address"));

    if (loader->conf->listener_count == 0) {
        const struct conf_section_kind *kind = conf_section_kind_find(STR("listen"));

        (void)add_section(loader, kind, STR("listen local"), STR("local"), BUILT_IN);
        return;
    }
    for (const struct conf_section *s = loader->state->sections; s; s = s->next) {
        if (s->kind->is_named && s->slots[conf_key_index(address)].lines == 0) {
            conf_messages_add(loader->messages, false, s->origin, "[%s]: address is missing",
                              s->name);
        }
    }
}

/* Without any [access] this machine alone is served. */
static void complete_rules(struct conf_loader *loader)
{
    const struct conf_place place = {loader->state, "", BUILT_IN};
    const struct conf_section *access = find_section(loader->conf, STR("access"));

    if (access) {
        return;
    }
    access = add_section(loader, conf_section_kind_find(STR("access")), STR("access"), str_of(""),
                         BUILT_IN);
    if (access) {
        conf_set_rule(loader, access, STR("local"), STR("allow from loopback,unix to any"), &place,
                      false);
    }
}

/* The file to read, or NULL for the built-in defaults. */
static const char *choose_path(const struct conf_load_options *options)
{
    struct stat st;

    if (options->path) {
        return options->path;
    }
    /* A link that leads nowhere is there: somebody has meant a file to be read. */
    if (lstat(CONF_DEFAULT_PATH, &st) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return NULL;
    }
    return CONF_DEFAULT_PATH;
}

static void load(struct conf_loader *loader, const struct conf_load_options *options)
{
    const char *path = choose_path(options);

    add_unnamed_sections(loader);
    if (path) {
        loader->conf->source = conf_keep(loader->state, str_of(path));
        loader->error = loader->conf->source ? loader->error : -ENOMEM;
        conf_read_source(loader, path);
    }
    apply_overrides(loader, options);
    complete_listeners(loader);
    complete_rules(loader);
    if (!loader->error) {
        conf_check(loader->conf, loader->messages);
    }
}

int conf_read(const struct conf_load_options *options, struct conf **ret,
              struct conf_messages *messages)
{
    struct conf_loader loader = {.conf = conf_new(), .messages = messages};

    if (!loader.conf) {
        return -ENOMEM;
    }
    loader.state = loader.conf->state;
    load(&loader, options);
    if (loader.error) {
        conf_free(loader.conf);
        return loader.error;
    }
    *ret = loader.conf;
    return 0;
}

int conf_load(const struct conf_load_options *options, struct conf **ret_conf,
              struct conf_messages *messages)
{
    struct conf *conf = NULL;
    int error = conf_read(options, &conf, messages);

    if (!error && messages->error_count > 0) {
        conf_free(conf);
        error = 1;
    }
    if (!error) {
        *ret_conf = conf;
    }
    return error;
}
