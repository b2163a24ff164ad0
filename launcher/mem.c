#include "mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "refuse.h"

char *mem_copy(const char *text, size_t length) {
    char *copy = mem_take(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *cut(char **rest, char separator) {
    char *part = *rest;
    if (!part) {
        return NULL;
    }
    char *end = part;
    while (*end && *end != separator) {
        end++;
    }
    *rest = *end ? end + 1 : NULL;
    *end = '\0';
    return part;
}

char *mem_text(const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        refuse("", "cannot format a message");
    }
    char *text = mem_take((size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

void *mem_grow(void *list, size_t count, size_t *room, size_t size) {
    if (count < *room) {
        return list;
    }
    size_t wanted = *room ? *room * 2 : 16;
    void *larger = mem_take(wanted * size);
    if (list) {
        memcpy(larger, list, count * size);
    }
    *room = wanted;
    return larger;
}

void strings_add(struct strings *list, const char *text) {
    list->item = mem_grow(list->item, list->count + 1, &list->room, sizeof *list->item);
    list->item[list->count++] = text;
    list->item[list->count] = NULL;
}
