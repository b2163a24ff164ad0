#include "pattern.h"

#include <stddef.h>
#include <string.h>

#include "mem.h"
#include "refuse.h"

/* `*` and `?` within one component; a leading dot is nothing special. */
static bool component_matches(const char *pattern, const char *name) {
    const char *star = NULL;
    const char *retry = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

/* `**` stands for any depth, none included. */
static positions closure(const struct pattern *pattern, positions at) {
    for (size_t i = 0; pattern->component[i]; i++) {
        if ((at >> i & 1) && strcmp(pattern->component[i], "**") == 0) {
            at |= 1UL << (i + 1);
        }
    }
    return at;
}

positions pattern_start(const struct pattern *pattern) {
    return closure(pattern, 1);
}

positions pattern_step(const struct pattern *pattern, positions at, const char *name) {
    positions next = 0;
    for (size_t i = 0; pattern->component[i]; i++) {
        if (!(at >> i & 1)) {
            continue;
        }
        if (strcmp(pattern->component[i], "**") == 0) {
            next |= 1UL << i;
        } else if (component_matches(pattern->component[i], name)) {
            next |= 1UL << (i + 1);
        }
    }
    return closure(pattern, next);
}

static size_t length_of(const struct pattern *pattern) {
    size_t length = 0;
    while (pattern->component[length]) {
        length++;
    }
    return length;
}

bool pattern_is_complete(const struct pattern *pattern, positions at) {
    return at >> length_of(pattern) & 1;
}

bool pattern_is_any_depth(const struct pattern *pattern) {
    return length_of(pattern) == 2 && strcmp(pattern->component[0], "**") == 0;
}

struct pattern pattern_split(const char *text) {
    struct pattern pattern = {0};
    for (size_t count = 0; *text; count++) {
        size_t length = strcspn(text, "/");
        if (count == PATTERN_COMPONENTS - 1) {
            refuse("shorten the pattern", "a glob of the policy has more than %d components", PATTERN_COMPONENTS - 1);
        }
        pattern.component[count] = mem_copy(text, length);
        text += length + (text[length] == '/');
    }
    return pattern;
}
