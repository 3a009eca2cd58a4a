// SPDX-License-Identifier: MIT
#include "policy/idn.h"

#include <idn2.h>
#include <string.h>

#include "base/host.h"

static bool is_ascii(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* What is ASCII stays, a '*' with it. */
static bool put_label(struct str label, struct text *out)
{
    char copy[4 * HOST_NAME_MAX_BYTES];
    char *ascii = NULL;

    if (is_ascii(label)) {
        text_put(out, label);
        return true;
    }
    if (label.len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, label.ptr, label.len);
    copy[label.len] = '\0';
    if (idn2_to_ascii_8z(copy, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK) {
        return false;
    }
    text_puts(out, ascii);
    idn2_free(ascii);
    return true;
}

bool idn_to_ascii(struct str name, struct text *out)
{
    struct str rest = name;

    if (is_ascii(name)) {
        return false;
    }
    do {
        if (!put_label(str_cut(&rest, '.'), out)) {
            return false;
        }
        if (rest.ptr) {
            text_char(out, '.');
        }
    } while (rest.ptr);
    return !out->full;
}

const char *idn_library_version(void)
{
    return idn2_check_version(NULL);
}
