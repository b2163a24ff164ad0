#include "path.h"

#include <string.h>

#include "mem.h"
#include "refuse.h"

static bool is_name(const char *start, size_t length) {
    return length > 0 && length < 256 && !(length == 1 && start[0] == '.') && !(length == 2 && memcmp(start, "..", 2) == 0);
}

bool path_is_relative(const char *path) {
    if (strlen(path) >= PATH_LIMIT) {
        return false;
    }
    for (;;) {
        size_t length = strcspn(path, "/");
        if (!is_name(path, length)) {
            return false;
        }
        if (path[length] == '\0') {
            return true;
        }
        path += length + 1;
    }
}

bool path_is_plain_relative(const char *path) {
    for (const char *at = path; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte < 0x20 || byte == 0x7f) {
            return false;
        }
    }
    return path_is_relative(path);
}

bool path_is_plain_absolute(const char *path) {
    return path[0] == '/' && (path[1] == '\0' || path_is_plain_relative(path + 1));
}

bool path_at_or_below(const char *path, const char *dir) {
    if (strcmp(dir, "/") == 0) {
        return true;
    }
    size_t length = strlen(dir);
    return strncmp(path, dir, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool path_below(const char *path, const char *dir) {
    return path_at_or_below(path, dir) && strcmp(path, dir) != 0;
}

/* A slash sorts before every other byte: "/a/b" must come before "/a-b", which strcmp does not give. */
static int rank(char byte) {
    return byte == '/' ? 1 : byte == '\0' ? 0 : (unsigned char)byte + 1;
}

int path_compare(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return rank(*a) - rank(*b);
}

static const char *path_of(const void *list, size_t size, size_t index) {
    return *(const char *const *)(const void *)((const char *)list + index * size);
}

/* How many elements come at or before `path`. */
static size_t count_up_to(const void *list, size_t count, size_t size, const char *path) {
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (path_compare(path_of(list, size, middle), path) <= 0) {
            low = middle + 1;
        } else {
            count = middle;
        }
    }
    return low;
}

/* Cuts `path` to the directory that holds both. */
static void cut_to_common(char *path, const char *other) {
    size_t length = 0;
    while (path[length] && path[length] == other[length]) {
        length++;
    }
    while (path[length] != '/' && length > 0) {
        length--;
    }
    path[length ? length : 1] = '\0';
}

/* What comes directly before `path` holds it, or whatever does holds both. */
const void *path_holder(const void *list, size_t count, size_t size, const char *path) {
    char at[PATH_LIMIT];
    strcpy(at, path);
    while ((count = count_up_to(list, count, size, at)) > 0) {
        const char *before = path_of(list, size, count - 1);
        if (path_at_or_below(at, before)) {
            return (const char *)list + (count - 1) * size;
        }
        cut_to_common(at, before);
    }
    return NULL;
}

const char *path_parent(const char *path) {
    size_t length = (size_t)(strrchr(path, '/') - path);
    return length ? mem_copy(path, length) : "/";
}

const char *path_join(const char *dir, const char *name) {
    const char *path = strcmp(dir, "/") == 0 ? mem_text("/%s", name) : mem_text("%s/%s", dir, name);
    if (strlen(path) >= PATH_LIMIT) {
        refuse("use shorter paths", "a path is longer than %d bytes: %.80s...", PATH_LIMIT - 1, path);
    }
    return path;
}
