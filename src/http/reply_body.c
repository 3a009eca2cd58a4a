// SPDX-License-Identifier: MIT
#include "http/reply_body.h"

#include "base/err.h"
#include "base/text.h"
#include "http/field.h"

/* Escapes make at most six bytes of one; the phrase stands twice in a page. */
#define PAGE_MAX (9 * 6 * REPLY_PAGE_TEXT_MAX + 2048)

static const struct {
    const char *range; /* as it stands in Accept */
    const char *any;
    const char *content_type;
} forms[] = {
    [REPLY_PLAIN] = {"text/plain", "text/*", "text/plain; charset=utf-8"},
    [REPLY_HTML] = {"text/html", "text/*", "text/html; charset=utf-8"},
    [REPLY_JSON] = {"application/json", "application/*", "application/json"},
};

const char *reply_form_type(enum reply_form form)
{
    return forms[form].content_type;
}

/* The weight in thousandths among the parameters of an element (RFC 9110 12.4.2); 1000 when there
 * is none, 0 when it cannot be read. */
static unsigned weight_of(struct str params)
{
    while (params.len > 0) {
        struct str param = str_cut(&params, ';');
        uint64_t weight = 0;

        if (!str_istarts(param, STR("q="))) {
            continue;
        }
        param = str_from(param, 2);
        if (param.len == 0 || param.len > 5 || (param.ptr[0] != '0' && param.ptr[0] != '1') ||
            (param.len > 1 && param.ptr[1] != '.')) {
            return 0;
        }
        for (size_t i = 2; i < 5; i++) {
            char digit = i < param.len ? param.ptr[i] : '0';

            if (digit < '0' || digit > '9') {
                return 0;
            }
            weight = weight * 10 + (unsigned)(digit - '0');
        }
        return param.ptr[0] == '1' ? 1000 : (unsigned)weight;
    }
    return 1000;
}

/* The more of a media type a range names, the higher; 0: it names another. */
static unsigned precedence(enum reply_form form, struct str range)
{
    if (str_ieq(range, str_of(forms[form].range))) {
        return 3;
    }
    if (str_ieq(range, str_of(forms[form].any))) {
        return 2;
    }
    return str_eq(range, STR("*/*")) ? 1 : 0;
}

/* The weight of the range that names form most closely. */
static unsigned weight_of_form(const struct field_list *fields, enum reply_form form)
{
    const struct field *field = field_find(fields, FIELD_ACCEPT);
    unsigned best = 0;
    unsigned weight = 0;

    for (; field; field = field_next(fields, field)) {
        struct str rest = field->value;
        struct str element;

        while (field_next_element(&rest, &element)) {
            struct str range = str_cut(&element, ';');
            unsigned rank = precedence(form, range);

            if (rank > best) {
                best = rank;
                weight = weight_of(element);
            }
        }
    }
    return weight;
}

enum reply_form reply_choose_form(const struct field_list *fields)
{
    enum reply_form chosen = REPLY_PLAIN;
    unsigned best = 0;

    for (size_t i = 0; fields && i < ARRAY_LEN(forms); i++) {
        unsigned weight = weight_of_form(fields, (enum reply_form)i);

        if (weight > best) {
            best = weight;
            chosen = (enum reply_form)i;
        }
    }
    return chosen;
}

/* The lines below the sentence, in their order. */
struct row {
    const char *label;
    struct str value;
};

#define PAGE_ROWS 4

static void get_rows(const struct reply_page *page, struct row rows[PAGE_ROWS])
{
    rows[0] = (struct row){"rule", page->rule};
    rows[1] = (struct row){"details", page->details};
    rows[2] = (struct row){"target", page->target};
    rows[3] = (struct row){"proxy", page->server};
}

static void put_plain(struct text *out, const struct reply_page *page)
{
    struct row rows[PAGE_ROWS];

    get_rows(page, rows);
    text_u64(out, page->status);
    text_char(out, ' ');
    text_put(out, page->phrase);
    text_put(out, STR("\n\n"));
    text_put(out, page->sentence);
    text_put(out, STR("\n\n"));
    if (page->example.len > 0) {
        text_put(out, STR("  "));
        text_put(out, page->example);
        text_put(out, STR("\n\n"));
    }
    for (size_t i = 0; i < PAGE_ROWS; i++) {
        if (rows[i].value.len > 0) {
            text_printf(out, "%s: ", rows[i].label);
            text_put(out, rows[i].value);
            text_char(out, '\n');
        }
    }
}

static void put_html_text(struct text *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            text_put(out, STR("&amp;"));
            break;
        case '<':
            text_put(out, STR("&lt;"));
            break;
        case '>':
            text_put(out, STR("&gt;"));
            break;
        case '"':
            text_put(out, STR("&quot;"));
            break;
        case '\'':
            text_put(out, STR("&#39;"));
            break;
        default:
            text_char(out, s.ptr[i]);
        }
    }
}

static void put_html_element(struct text *out, const char *open, struct str s, const char *close)
{
    text_puts(out, open);
    put_html_text(out, s);
    text_puts(out, close);
}

static void put_html(struct text *out, const struct reply_page *page)
{
    struct row rows[PAGE_ROWS];

    get_rows(page, rows);
    text_put(out, STR("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>"));
    text_u64(out, page->status);
    put_html_element(out, " ", page->phrase, "</title>\n");
    text_put(out, STR("<style>:root{color-scheme:light dark}"
                      "body{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em;"
                      "overflow-wrap:anywhere}dt{opacity:.6}dd{margin:0 0 .6em}</style>\n<h1>"));
    text_u64(out, page->status);
    put_html_element(out, " ", page->phrase, "</h1>\n");
    put_html_element(out, "<p>", page->sentence, "</p>\n");
    if (page->example.len > 0) {
        put_html_element(out, "<pre>", page->example, "</pre>\n");
    }
    text_put(out, STR("<dl>\n"));
    for (size_t i = 0; i < PAGE_ROWS; i++) {
        if (rows[i].value.len > 0) {
            put_html_element(out, "<dt>", str_of(rows[i].label), "</dt>");
            put_html_element(out, "<dd>", rows[i].value, "</dd>\n");
        }
    }
    text_put(out, STR("</dl>\n</html>\n"));
}

/* ,"name":"value"; only quotes and backslashes need an escape in printable ASCII. */
static void put_json_member(struct text *out, const char *name, struct str value)
{
    if (value.len == 0) {
        return;
    }
    text_printf(out, ",\"%s\":\"", name);
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '"' || value.ptr[i] == '\\') {
            text_char(out, '\\');
        }
        text_char(out, value.ptr[i]);
    }
    text_char(out, '"');
}

static void put_json(struct text *out, const struct reply_page *page)
{
    text_put(out, STR("{\"status\":"));
    text_u64(out, page->status);
    put_json_member(out, "reason", page->phrase);
    put_json_member(out, "error", page->error);
    put_json_member(out, "message", page->sentence);
    put_json_member(out, "example", page->example);
    put_json_member(out, "rule", page->rule);
    put_json_member(out, "details", page->details);
    put_json_member(out, "target", page->target);
    put_json_member(out, "proxy", page->server);
    text_put(out, STR("}\n"));
}

struct str reply_write_page(struct arena *arena, enum reply_form form,
                            const struct reply_page *page)
{
    char buf[PAGE_MAX];
    struct text out = TEXT_OVER(buf);

    switch (form) {
    case REPLY_PLAIN:
        put_plain(&out, page);
        break;
    case REPLY_HTML:
        put_html(&out, page);
        break;
    case REPLY_JSON:
        put_json(&out, page);
        break;
    }
    ASSERT(!out.full);
    return arena_copy(arena, text_str(&out));
}
