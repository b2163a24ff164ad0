#include "path.h"

#include <string.h>

#include "mem.h"
#include "refuse.h"

static bool component_is_plain(const char *start, size_t length) {
    if (length == 0 || (length == 1 && start[0] == '.') || (length == 2 && memcmp(start, "..", 2) == 0)) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)start[i];
        if (byte < 0x20 || byte == 0x7f) {
            return false;
        }
    }
    return length < 256;
}

bool path_is_plain_relative(const char *path) {
    if (strlen(path) >= PATH_LIMIT) {
        return false;
    }
    for (;;) {
        size_t length = strcspn(path, "/");
        if (!component_is_plain(path, length)) {
            return false;
        }
        if (path[length] == '\0') {
            return true;
        }
        path += length + 1;
    }
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

const char *path_join(const char *dir, const char *name) {
    const char *path = strcmp(dir, "/") == 0 ? mem_text("/%s", name) : mem_text("%s/%s", dir, name);
    if (strlen(path) >= PATH_LIMIT) {
        refuse("use shorter paths", "a path is longer than %d bytes: %.80s...", PATH_LIMIT - 1, path);
    }
    return path;
}
