/* Bounded memory: one arena, never freed, because a launch is short. Running out is a refusal. */
#ifndef FLEETBOX_MEM_H
#define FLEETBOX_MEM_H

#include <stddef.h>

/* A growing list of strings; `item[count]` is always NULL, so it can serve as an argv. */
struct strings {
    const char **item;
    size_t count;
    size_t room;
};

void *mem_take(size_t size);

/* Gives back what `place` does not need, and everything that was taken after it. */
void mem_trim(void *place, size_t size);

char *mem_copy(const char *text, size_t length);
/* Cuts the text before the next `separator` off, in place; NULL at the end. Unlike strtok_r it gives empty parts,
 * and costs no more for what follows: some C libraries measure the whole rest each time. */
char *cut(char **rest, char separator);

char *mem_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Room for one more element of `size` bytes in a list of `count`; returns the list, moved or not. */
void *mem_grow(void *list, size_t count, size_t *room, size_t size);

void strings_add(struct strings *list, const char *text);

#endif
