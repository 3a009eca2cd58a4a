// SPDX-License-Identifier: MIT
#include "conf/conf_value.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/conf_setting.h"
#include "conf/conf_state.h"

_Static_assert(sizeof(enum conf_family) == sizeof(unsigned), "words are stored as unsigned");

#define TOKEN_MAX 64
#define TEXT_MAX 200

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: getters take the first that divides. */
static const struct unit size_units[] = {
    {"G", 1U << 30}, {"M", 1U << 20}, {"K", 1U << 10}, {"", 1}};
static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit rate_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};

/* ---- Numbers ---- */

/* Splits "64K" into its digits and its unit; false when there are no digits or too many. */
static bool split_number(struct str value, uint64_t *ret_number, struct str *ret_unit)
{
    size_t digits = 0;

    while (digits < value.len && value.ptr[digits] >= '0' && value.ptr[digits] <= '9') {
        digits++;
    }
    *ret_unit = str_from(value, digits);
    return str_parse_u64(str_head(value, digits), UINT64_MAX, ret_number);
}

static bool scale(uint64_t number, struct str unit, const struct unit *units, size_t count,
                  uint64_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(unit, str_of(units[i].name))) {
            return !__builtin_mul_overflow(number, units[i].factor, ret);
        }
    }
    return false;
}

static void put_scaled(uint64_t value, const struct unit *units, size_t count, struct text *out)
{
    size_t i = 0;

    while (i + 1 < count && value % units[i].factor != 0) {
        i++;
    }
    text_u64(out, value / units[i].factor);
    text_puts(out, units[i].name);
}

static void put_size(uint64_t value, struct text *out)
{
    if (value == 0) {
        text_char(out, '0');
    } else {
        put_scaled(value, size_units, ARRAY_LEN(size_units), out);
    }
}

/* 60s and 120s read better than 1m and 2m. */
void conf_time_put(uint64_t value_ms, struct text *out)
{
    bool few_minutes = value_ms % 1000 == 0 && value_ms < 300000;

    if (few_minutes) {
        text_u64(out, value_ms / 1000);
        text_char(out, 's');
    } else {
        put_scaled(value_ms, time_units, ARRAY_LEN(time_units), out);
    }
}

static void put_number(const struct conf_key *key, uint64_t value, struct text *out)
{
    if (value == 0 && key->zero_is_off) {
        text_char(out, '0');
    } else if (key->type == CONF_TYPE_TIME) {
        conf_time_put(value, out);
    } else if (key->type == CONF_TYPE_SIZE) {
        put_size(value, out);
    } else {
        text_u64(out, value);
    }
}

static int bad_number(const struct conf_setting *s, const char *what)
{
    text_printf(s->why, "expected %s from ", what);
    put_number(s->key, s->key->min, s->why);
    text_puts(s->why, " to ");
    put_number(s->key, s->key->max, s->why);
    text_puts(s->why, s->key->zero_is_off ? ", or 0" : "");
    text_puts(s->why, s->key->may_be_auto ? ", or auto" : "");
    return CONF_VALUE_BAD;
}

static int store_number(const struct conf_setting *s, bool is_number, uint64_t number,
                        const char *what)
{
    bool is_off = number == 0 && s->key->zero_is_off;

    if (!is_number || (!is_off && (number < s->key->min || number > s->key->max))) {
        return bad_number(s, what);
    }
    *(uint64_t *)s->field = number;
    return 0;
}

static bool store_auto(const struct conf_setting *s, struct str value)
{
    if (!s->key->may_be_auto || !str_eq(value, STR("auto"))) {
        return false;
    }
    *(uint64_t *)s->field = CONF_AUTO;
    return true;
}

static int set_count(const struct conf_setting *s, struct str value)
{
    uint64_t number = 0;
    bool is_number;

    if (store_auto(s, value)) {
        return 0;
    }
    is_number = str_parse_u64(value, UINT64_MAX, &number);
    return store_number(s, is_number, number, "a number");
}

static int set_size(const struct conf_setting *s, struct str value)
{
    uint64_t number = 0;
    struct str unit;
    bool is_size;
    char upper;

    if (store_auto(s, value)) {
        return 0;
    }
    is_size = split_number(value, &number, &unit);
    if (is_size && unit.len == 1 && (*unit.ptr == 'k' || *unit.ptr == 'm' || *unit.ptr == 'g')) {
        upper = (char)(*unit.ptr - 'a' + 'A');
        unit.ptr = &upper;
    }
    is_size = is_size && scale(number, unit, size_units, ARRAY_LEN(size_units), &number);
    return store_number(s, is_size, number, "a size (K, M, G)");
}

static int set_time(const struct conf_setting *s, struct str value)
{
    uint64_t number = 0;
    struct str unit;
    bool is_time = split_number(value, &number, &unit);

    if (is_time && unit.len == 0 && number != 0) {
        text_puts(s->why, "a time needs a unit: ms, s, m, h or d");
        return CONF_VALUE_BAD;
    }
    is_time = is_time &&
              (unit.len == 0 || scale(number, unit, time_units, ARRAY_LEN(time_units), &number));
    if (is_time && s->key->min >= 1000 && number % 1000 != 0) {
        text_puts(s->why, "only whole seconds can be set");
        return CONF_VALUE_BAD;
    }
    return store_number(s, is_time, number, "a time (ms, s, m, h, d)");
}

static int set_rate(const struct conf_setting *s, struct str value)
{
    struct str unit = value;
    struct str digits = str_cut(&unit, '/');
    struct conf_rate rate = {0};

    if (!str_parse_u64(digits, s->key->max, &rate.count) || rate.count < s->key->min ||
        !scale(1, unit, rate_units, ARRAY_LEN(rate_units), &rate.per_ms)) {
        text_printf(s->why, "expected a number from %llu to %llu and /s, /m, /h or /d",
                    (unsigned long long)s->key->min, (unsigned long long)s->key->max);
        return CONF_VALUE_BAD;
    }
    *(struct conf_rate *)s->field = rate;
    return 0;
}

static void get_rate(const struct conf_key *key, const void *field, struct text *out)
{
    const struct conf_rate *rate = field;

    (void)key;
    text_u64(out, rate->count);
    text_char(out, '/');
    for (size_t i = 0; i < ARRAY_LEN(rate_units); i++) {
        text_puts(out, rate_units[i].factor == rate->per_ms ? rate_units[i].name : "");
    }
}

static void get_number(const struct conf_key *key, const void *field, struct text *out)
{
    uint64_t value = *(const uint64_t *)field;

    if (value == CONF_AUTO) {
        text_puts(out, "auto");
    } else {
        put_number(key, value, out);
    }
}

/* ---- Words ---- */

static int set_bool(const struct conf_setting *s, struct str value)
{
    if (!str_eq(value, STR("on")) && !str_eq(value, STR("off"))) {
        text_puts(s->why, "expected on or off");
        return CONF_VALUE_BAD;
    }
    *(bool *)s->field = str_eq(value, STR("on"));
    return 0;
}

static void get_bool(const struct conf_key *key, const void *field, struct text *out)
{
    (void)key;
    text_puts(out, *(const bool *)field ? "on" : "off");
}

static int set_word(const struct conf_setting *s, struct str value)
{
    for (unsigned i = 0; s->key->words[i]; i++) {
        if (str_eq(value, str_of(s->key->words[i]))) {
            *(unsigned *)s->field = i;
            return 0;
        }
    }
    text_puts(s->why, "expected ");
    for (unsigned i = 0; s->key->words[i]; i++) {
        const char *separator = !s->key->words[i + 1] ? " or " : ", ";

        text_puts(s->why, i > 0 ? separator : "");
        text_puts(s->why, s->key->words[i]);
    }
    return CONF_VALUE_BAD;
}

static void get_word(const struct conf_key *key, const void *field, struct text *out)
{
    text_puts(out, key->words[*(const unsigned *)field]);
}

static int set_mode(const struct conf_setting *s, struct str value)
{
    mode_t mode = 0;
    bool is_octal = value.len == 3 || (value.len == 4 && value.ptr[0] == '0');

    for (size_t i = 0; is_octal && i < value.len; i++) {
        is_octal = value.ptr[i] >= '0' && value.ptr[i] <= '7';
        mode = mode * 8 + (mode_t)(unsigned char)(value.ptr[i] - '0');
    }
    if (!is_octal) {
        text_puts(s->why, "expected octal permissions such as 0660");
        return CONF_VALUE_BAD;
    }
    *(mode_t *)s->field = mode;
    return 0;
}

static void get_mode(const struct conf_key *key, const void *field, struct text *out)
{
    (void)key;
    text_printf(out, "%04o", (unsigned)*(const mode_t *)field);
}

/* ---- Strings ---- */

static int store_string(const struct conf_setting *s, struct str value)
{
    const char *copy = conf_keep(s->place->state, value);

    if (!copy) {
        return -ENOMEM;
    }
    *(const char **)s->field = copy;
    return 0;
}

static bool is_letter(char c)
{
    return str_lower(c) >= 'a' && str_lower(c) <= 'z';
}

static bool is_name_char(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static int set_token(const struct conf_setting *s, struct str value)
{
    bool is_token = value.len > 0 && value.len <= TOKEN_MAX && is_letter(value.ptr[0]);

    for (size_t i = 0; is_token && i < value.len; i++) {
        is_token = is_name_char(value.ptr[i]);
    }
    if (!is_token) {
        text_printf(s->why, "expected a letter, then letters, digits, '-', '_' or '.', at most %d",
                    TOKEN_MAX);
        return CONF_VALUE_BAD;
    }
    return store_string(s, value);
}

static int set_text(const struct conf_setting *s, struct str value)
{
    bool is_printable = value.len <= TEXT_MAX;

    for (size_t i = 0; is_printable && i < value.len; i++) {
        is_printable = value.ptr[i] >= ' ' && value.ptr[i] <= '~';
    }
    if (!is_printable) {
        text_printf(s->why, "expected printable ASCII, at most %d bytes", TEXT_MAX);
        return CONF_VALUE_BAD;
    }
    return store_string(s, value);
}

static int set_account(const struct conf_setting *s, struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (!is_name_char(value.ptr[i])) {
            text_puts(s->why, "no name of a user or group holds such a character");
            return CONF_VALUE_BAD;
        }
    }
    return store_string(s, value);
}

int conf_setting_path(const struct conf_setting *s, struct str path, const char **ret)
{
    char buf[PATH_MAX];
    struct text joined = TEXT_OVER(buf);
    const char *copy;

    if (path.len > 0 && (path.ptr[0] == '"' || path.ptr[0] == '\'')) {
        text_puts(s->why, "a path is written without quotes");
        return CONF_VALUE_BAD;
    }
    if (path.len > 0 && path.ptr[0] != '/') {
        text_puts(&joined, s->place->dir);
        text_char(&joined, '/');
    }
    text_put(&joined, path);
    if (path.len == 0 || joined.full || !conf_value_is_plain(text_str(&joined))) {
        text_puts(s->why, "no usable path");
        return CONF_VALUE_BAD;
    }
    copy = conf_keep(s->place->state, text_str(&joined));
    if (!copy) {
        return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

static int set_path(const struct conf_setting *s, struct str value)
{
    return conf_setting_path(s, value, s->field);
}

static void get_string(const struct conf_key *key, const void *field, struct text *out)
{
    const char *string = *(const char *const *)field;

    text_puts(out, string ? string : key->none);
}

static void get_bind(const struct conf_key *key, const void *field, struct text *out)
{
    (void)key;
    conf_bind_put(field, out);
}

/* ---- One row per type ---- */

static const struct {
    int (*set)(const struct conf_setting *s, struct str value);
    void (*get)(const struct conf_key *key, const void *field, struct text *out); /* of a scalar */
} types[] = {
    [CONF_TYPE_COUNT] = {set_count, get_number},
    [CONF_TYPE_SIZE] = {set_size, get_number},
    [CONF_TYPE_TIME] = {set_time, get_number},
    [CONF_TYPE_RATE] = {set_rate, get_rate},
    [CONF_TYPE_BOOL] = {set_bool, get_bool},
    [CONF_TYPE_WORD] = {set_word, get_word},
    [CONF_TYPE_TOKEN] = {set_token, get_string},
    [CONF_TYPE_TEXT] = {set_text, get_string},
    [CONF_TYPE_ACCOUNT] = {set_account, get_string},
    [CONF_TYPE_PATH] = {set_path, get_string},
    [CONF_TYPE_MODE] = {set_mode, get_mode},
    [CONF_TYPE_BINDS] = {conf_setting_binds, NULL},
    [CONF_TYPE_SERVERS] = {conf_setting_servers, NULL},
    [CONF_TYPE_BIND] = {conf_setting_bind, get_bind},
    [CONF_TYPE_ADDRS] = {conf_setting_addrs, NULL},
};

bool conf_value_is_plain(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        bool begins_comment =
            c == ';' && i > 0 && (value.ptr[i - 1] == ' ' || value.ptr[i - 1] == '\t');

        if ((c < ' ' && c != '\t') || c == 0x7f || begins_comment) {
            return false;
        }
    }
    return true;
}

bool conf_value_is_list(const struct conf_key *key)
{
    return !types[key->type].get;
}

int conf_value_set(const struct conf_key *key, void *base, struct str value,
                   const struct conf_place *place, struct text *why)
{
    const struct conf_setting s = {key, base, (char *)base + key->offset, place, why};

    if (key->none && str_eq(value, str_of(key->none))) {
        if (!conf_value_is_list(key)) {
            *(const char **)s.field = NULL;
        }
        return 0;
    }
    if (value.len == 0) {
        text_puts(why, "a value is missing");
        return CONF_VALUE_BAD;
    }
    return types[key->type].set(&s, value);
}

void conf_value_clear(const struct conf_key *key, void *base)
{
    if (key->type == CONF_TYPE_BINDS) {
        struct conf_listener *listener = base;

        mem_free(listener->binds);
        listener->binds = NULL;
        listener->bind_count = 0;
    } else if (key->type == CONF_TYPE_SERVERS) {
        struct conf *conf = base;

        mem_free(conf->dns.servers);
        conf->dns.servers = NULL;
        conf->dns.server_count = 0;
    } else if (key->type == CONF_TYPE_ADDRS) {
        struct conf *conf = base;

        mem_free(conf->admin.allow);
        conf->admin.allow = NULL;
        conf->admin.allow_count = 0;
    }
}

size_t conf_value_items(const struct conf_key *key, const void *base)
{
    if (key->type == CONF_TYPE_BINDS) {
        return ((const struct conf_listener *)base)->bind_count;
    }
    if (key->type == CONF_TYPE_ADDRS) {
        return ((const struct conf *)base)->admin.allow_count;
    }
    return key->type == CONF_TYPE_SERVERS ? ((const struct conf *)base)->dns.server_count : 1;
}

void conf_value_put(const struct conf_key *key, const void *base, size_t index, struct text *out)
{
    ASSERT(index < conf_value_items(key, base));
    if (key->type == CONF_TYPE_BINDS) {
        conf_bind_put(&((const struct conf_listener *)base)->binds[index], out);
    } else if (key->type == CONF_TYPE_SERVERS) {
        addr_put_port(out, &((const struct conf *)base)->dns.servers[index]);
    } else if (key->type == CONF_TYPE_ADDRS) {
        conf_addr_put(&((const struct conf *)base)->admin.allow[index], out);
    } else {
        types[key->type].get(key, (const char *)base + key->offset, out);
    }
}
