// SPDX-License-Identifier: MIT
#include "server/connections_show.h"

#include "base/text.h"
#include "log/escape.h"
#include "server/connections.h"
#include "server/json.h"

/* Of a cell, escaped. */
#define CELL_MAX_BYTES ((size_t)80)
#define TARGET_CELL_MAX_BYTES ((size_t)512)

static const char *const kind_words[] = {
    [CENSUS_IDLE] = "idle",
    [CENSUS_REQUEST] = "request",
    [CENSUS_TUNNEL] = "tunnel",
};

/* ------------------------------------------------------------------ JSON */

static void put_json_addr(FILE *out, const char *name, const struct addr *addr,
                          void (*put)(struct text *text, const struct addr *addr))
{
    char memory[ADDR_TEXT_MAX];
    struct text text = TEXT_OVER(memory);

    if (addr->kind != ADDR_NONE) {
        put(&text, addr);
    }
    json_put_member(out, ",", name, text_str(&text));
}

static void put_json_row(const struct connections_form *form, const struct connections_row *row,
                         FILE *out)
{
    static const struct addr none;
    bool is_idle = row->kind == CENSUS_IDLE;

    json_put_member(out, form->count > 0 ? ",\n{" : "\n{", "id", row->id);
    json_put_member(out, ",", "kind", str_of(kind_words[row->kind]));
    put_json_addr(out, "client", &row->client, addr_put);
    json_put_member(out, ",", "user", row->user);
    json_put_member(out, ",", "listener", row->listener);
    json_put_member(out, ",", "method", row->method);
    json_put_member(out, ",", "target", form->is_blind ? STR("") : row->target);
    json_put_member(out, ",", "rule", row->rule);
    put_json_addr(out, "upstream", form->is_blind ? &none : &row->upstream, addr_put_port);
    if (is_idle) {
        (void)fputs(",\"bytes_in\":null,\"bytes_out\":null", out);
    } else {
        json_put_number(out, ",", "bytes_in", row->bytes_in);
        json_put_number(out, ",", "bytes_out", row->bytes_out);
    }
    json_put_number(out, ",", "age_ms", row->age_ms);
    if (row->generation > 0) {
        json_put_number(out, ",", "generation", row->generation);
    } else {
        (void)fputs(",\"generation\":null", out);
    }
    if (form->would_deny) {
        json_put_member(out, ",", "would_deny", row->would_deny);
    }
    (void)fputc('}', out);
}

/* ------------------------------------------------------------------ the table */

static void put_escaped(struct text *out, struct str s, size_t max_bytes)
{
    if (s.len == 0) {
        text_char(out, '-');
    } else {
        escape_put(out, s, ESCAPE_PLAIN, max_bytes);
    }
}

static void put_id(struct text *out, const struct connections_row *row)
{
    put_escaped(out, row->id, CELL_MAX_BYTES);
}

static void put_kind(struct text *out, const struct connections_row *row)
{
    text_puts(out, kind_words[row->kind]);
}

/* The two largest units: 7.5s, 3m07s, 2h05m, 4d11h. */
static void put_age(struct text *out, const struct connections_row *row)
{
    unsigned long long s = row->age_ms / 1000;

    if (s < 60) {
        text_printf(out, "%llu.%llus", s, (unsigned long long)(row->age_ms % 1000 / 100));
    } else if (s < 3600) {
        text_printf(out, "%llum%02llus", s / 60, s % 60);
    } else if (s < 86400) {
        text_printf(out, "%lluh%02llum", s / 3600, s / 60 % 60);
    } else {
        text_printf(out, "%llud%02lluh", s / 86400, s / 3600 % 24);
    }
}

/* 1023, 1.0K, 23.4M: units of 1024, as in the configuration. */
static void put_bytes(struct text *out, const struct connections_row *row, uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    uint64_t tenths = bytes / 1024 * 10 + bytes % 1024 * 10 / 1024;
    size_t unit = 0;

    if (row->kind == CENSUS_IDLE) {
        text_char(out, '-');
        return;
    }
    if (bytes < 1024) {
        text_u64(out, bytes);
        return;
    }
    for (; tenths >= 10240 && unit < sizeof(units) - 2; unit++) {
        tenths /= 1024;
    }
    text_printf(out, "%llu.%llu%c", (unsigned long long)(tenths / 10),
                (unsigned long long)(tenths % 10), units[unit]);
}

static void put_bytes_in(struct text *out, const struct connections_row *row)
{
    put_bytes(out, row, row->bytes_in);
}

static void put_bytes_out(struct text *out, const struct connections_row *row)
{
    put_bytes(out, row, row->bytes_out);
}

static void put_client(struct text *out, const struct connections_row *row)
{
    addr_put(out, &row->client);
}

static void put_user(struct text *out, const struct connections_row *row)
{
    put_escaped(out, row->user, CELL_MAX_BYTES);
}

static void put_listener(struct text *out, const struct connections_row *row)
{
    put_escaped(out, row->listener, CELL_MAX_BYTES);
}

static void put_rule(struct text *out, const struct connections_row *row)
{
    put_escaped(out, row->rule, CELL_MAX_BYTES);
}

static void put_would_deny(struct text *out, const struct connections_row *row)
{
    put_escaped(out, row->would_deny, CELL_MAX_BYTES);
}

static void put_generation(struct text *out, const struct connections_row *row)
{
    if (row->generation > 0) {
        text_u64(out, row->generation);
    } else {
        text_char(out, '-');
    }
}

static void put_upstream(struct text *out, const struct connections_row *row)
{
    if (row->upstream.kind == ADDR_NONE) {
        text_char(out, '-');
    } else {
        addr_put_port(out, &row->upstream);
    }
}

static void put_method(struct text *out, const struct connections_row *row)
{
    put_escaped(out, row->method, CELL_MAX_BYTES);
}

static void put_target(struct text *out, const struct connections_row *row)
{
    put_escaped(out, row->target, TARGET_CELL_MAX_BYTES);
}

static const struct {
    const char *name;
    bool is_number;     /* stands on the right */
    bool is_target;     /* tells what clients ask for */
    bool is_would_deny; /* belongs to that question */
    void (*put)(struct text *out, const struct connections_row *row);
} columns[CONNECTIONS_COLUMNS] = {
    {"ID", false, false, false, put_id},
    {"KIND", false, false, false, put_kind},
    {"AGE", true, false, false, put_age},
    {"IN", true, false, false, put_bytes_in},
    {"OUT", true, false, false, put_bytes_out},
    {"CLIENT", false, false, false, put_client},
    {"USER", false, false, false, put_user},
    {"LISTENER", false, false, false, put_listener},
    {"RULE", false, false, false, put_rule},
    {"WOULD-DENY", false, false, true, put_would_deny},
    {"GENERATION", true, false, false, put_generation},
    {"UPSTREAM", false, true, false, put_upstream},
    {"METHOD", false, false, false, put_method},
    {"TARGET", false, true, false, put_target},
};

static bool is_shown(const struct connections_form *form, size_t column)
{
    return !(columns[column].is_target && form->is_blind) &&
           !(columns[column].is_would_deny && !form->would_deny);
}

/* Characters, not bytes. */
static unsigned width_of(struct str s)
{
    unsigned width = 0;

    for (size_t i = 0; i < s.len; i++) {
        width += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    }
    return width;
}

/* The name of the column where row is NULL. */
static struct str cell(size_t column, const struct connections_row *row,
                       char memory[TARGET_CELL_MAX_BYTES + ADDR_TEXT_MAX])
{
    struct text text = text_over(memory, TARGET_CELL_MAX_BYTES + ADDR_TEXT_MAX);

    if (row) {
        columns[column].put(&text, row);
    } else {
        text_puts(&text, columns[column].name);
    }
    return text_str(&text);
}

static void grow_widths(struct connections_form *form, const struct connections_row *row)
{
    char memory[TARGET_CELL_MAX_BYTES + ADDR_TEXT_MAX];

    for (size_t i = 0; i < CONNECTIONS_COLUMNS; i++) {
        form->widths[i] = MAX(form->widths[i], width_of(cell(i, row, memory)));
    }
}

static size_t last_column(const struct connections_form *form)
{
    size_t last = CONNECTIONS_COLUMNS - 1;

    while (!is_shown(form, last)) {
        last--;
    }
    return last;
}

static void put_line(const struct connections_form *form, const struct connections_row *row,
                     FILE *out)
{
    size_t last = last_column(form);

    for (size_t i = 0; i <= last; i++) {
        char memory[TARGET_CELL_MAX_BYTES + ADDR_TEXT_MAX];
        struct str text;
        int blanks;

        if (!is_shown(form, i)) {
            continue;
        }
        text = cell(i, row, memory);
        blanks = (int)(form->widths[i] - width_of(text));
        (void)fprintf(out, "%*s%.*s%*s", columns[i].is_number ? blanks : 0, "", STR_ARG(text),
                      !columns[i].is_number && i < last ? blanks : 0, "");
        (void)fputs(i < last ? "  " : "\n", out);
    }
}

/* ------------------------------------------------------------------ either */

void connections_show_begin(struct connections_form *form, FILE *out)
{
    if (!form->as_text) {
        (void)fputs("{\"connections\":[", out);
    }
}

void connections_show_rows(struct connections_form *form, const struct connections_row *rows,
                           size_t count, FILE *out)
{
    bool is_first = form->count == 0;

    if (form->as_text && is_first) {
        grow_widths(form, NULL);
    }
    for (size_t i = 0; i < count && form->as_text; i++) {
        grow_widths(form, &rows[i]);
    }
    if (form->as_text && is_first && count > 0) {
        put_line(form, NULL, out);
    }
    for (size_t i = 0; i < count; i++, form->count++) {
        if (form->as_text) {
            put_line(form, &rows[i], out);
        } else {
            put_json_row(form, &rows[i], out);
        }
    }
}

void connections_show_end(struct connections_form *form, FILE *out)
{
    if (form->as_text) {
        (void)fprintf(out, form->count == 1 ? "%zu connection\n" : "%zu connections\n",
                      form->count);
    } else {
        (void)fputs(form->count > 0 ? "\n]" : "]", out);
        json_put_number(out, ",", "count", form->count);
        (void)fputs("}\n", out);
    }
}
