#include "git.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"
#include "refuse.h"

enum { POINTER_LIMIT = PATH_LIMIT + 64, CONFIG_LIMIT = 256 * 1024, INDEX_LIMIT = 64 * 1024 * 1024, SUBMODULE_LIMIT = 1000 };

/* -1 for what is no regular file. */
static int open_regular(const char *path, off_t *size) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0) {
        if (errno == EACCES) {
            refuse("make it readable again: chmod u+r", "cannot read %s, which may lead to a repository", path);
        }
        return -1;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -1;
    }
    *size = st.st_size;
    return fd;
}

/* At most `limit` bytes of it. */
static char *read_text(const char *path, size_t limit) {
    off_t size;
    int fd = open_regular(path, &size);
    if (fd < 0) {
        return NULL;
    }
    char *text = mem_take(limit);
    ssize_t length = read(fd, text, limit - 1);
    close(fd);
    mem_trim(text, length > 0 ? (size_t)length + 1 : 1);
    text[length > 0 ? length : 0] = '\0';
    return length > 0 ? text : NULL;
}

const char *git_read_pointer(const char *path) {
    char *text = read_text(path, POINTER_LIMIT);
    if (text) {
        text[strcspn(text, "\r\n")] = '\0';
    }
    return text;
}

bool git_is_bare(const char *dir) {
    struct stat st;
    return lstat(path_join(dir, "HEAD"), &st) == 0 && !S_ISDIR(st.st_mode) &&
           lstat(path_join(dir, "objects"), &st) == 0 && lstat(path_join(dir, "refs"), &st) == 0;
}

/* What follows `[core]`, on its line or the next ones, has `in_core` set. */
static const char *skip_sections(const char *line, bool *in_core) {
    line += strspn(line, " \t");
    while (*line == '[') {
        *in_core = strncasecmp(line, "[core]", 6) == 0;
        line += strcspn(line, "]");
        line += *line == ']';
        line += strspn(line, " \t");
    }
    return line;
}

/* Bare or in quotes; escapes are taken as they are. */
static const char *config_value(const char *text) {
    text += strspn(text, " \t");
    if (*text != '=') {
        return NULL;
    }
    text += 1 + strspn(text + 1, " \t");
    bool quoted = *text == '"';
    text += quoted;
    size_t length = strcspn(text, quoted ? "\"" : "#;");
    while (!quoted && length > 0 && strchr(" \t\r", text[length - 1])) {
        length--;
    }
    return length ? mem_copy(text, length) : NULL;
}

/* The last one counts. */
const char *git_hooks_path(const char *config) {
    const char key[] = "hookspath";
    const char *found = NULL;
    bool in_core = false;
    char *text = read_text(config, CONFIG_LIMIT);
    for (char *line; text && (line = cut(&text, '\n'));) {
        const char *at = skip_sections(line, &in_core);
        if (in_core && strncasecmp(at, key, sizeof key - 1) == 0) {
            const char *value = config_value(at + sizeof key - 1);
            found = value ? value : found;
        }
    }
    return found;
}

/* An index in memory: header, then entries of fixed fields, an object name of `hash` bytes, flags and a path. */
struct index {
    const unsigned char *bytes;
    size_t length;
    size_t at;
    uint32_t version;
    size_t hash;
    char path[PATH_LIMIT]; /* of the entry before: version 4 says only what differs */
};

enum { INDEX_HEADER = 12, ENTRY_FIXED = 40, MODE_AT = 24, MODE_GITLINK = 0160000 };

static uint32_t number(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* How many bytes of the path before stay; git's own variable length numbers. */
static bool strip(struct index *index, size_t *kept) {
    size_t drop = 0;
    unsigned char byte;
    do {
        if (index->at >= index->length || drop > PATH_LIMIT) {
            return false;
        }
        byte = index->bytes[index->at++];
        drop = drop << 7 | (byte & 0x7f);
        drop += byte & 0x80 ? 1 : 0;
    } while (byte & 0x80);
    size_t length = strlen(index->path);
    *kept = length - drop;
    return drop <= length;
}

/* Reads one entry into `path`; false where the bytes are no index. */
static bool next_entry(struct index *index, uint32_t *mode) {
    size_t start = index->at;
    size_t flags_at = start + ENTRY_FIXED + index->hash;
    if (flags_at + 4 > index->length) {
        return false;
    }
    *mode = number(index->bytes + start + MODE_AT);
    bool extended = index->version >= 3 && index->bytes[flags_at] & 0x40;
    index->at = flags_at + (extended ? 4 : 2);
    size_t kept = 0;
    if (index->version == 4 && !strip(index, &kept)) {
        return false;
    }
    const unsigned char *name = index->bytes + index->at;
    const unsigned char *end = memchr(name, '\0', index->length - index->at);
    if (!end || end == name || kept + (size_t)(end - name) >= sizeof index->path) {
        return false;
    }
    memcpy(index->path + kept, name, (size_t)(end - name) + 1);
    index->at += (size_t)(end - name) + 1;
    if (index->version < 4) { /* entries are padded to eight bytes, with one NUL at least */
        index->at = start + ((index->at - 1 - start) & ~(size_t)7) + 8;
    }
    return true;
}

static bool is_mode(uint32_t mode) {
    uint32_t type = mode & ~UINT32_C(07777);
    return type == 0100000 || type == 0120000 || type == 0040000 || type == MODE_GITLINK;
}

/* After the entries come extensions, each with its length, and a checksum: then the entries made sense. */
static bool ends_well(const struct index *index) {
    size_t at = index->at;
    while (at + 8 + index->hash <= index->length) {
        size_t length = number(index->bytes + at + 4);
        if (length > index->length - at - 8) {
            return false;
        }
        at += 8 + length;
    }
    return at + index->hash == index->length;
}

static bool read_entries(struct index *index, struct strings *found) {
    uint32_t count = number(index->bytes + 8);
    uint32_t mode = 0;
    index->at = INDEX_HEADER;
    index->path[0] = '\0';
    found->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!next_entry(index, &mode) || !is_mode(mode)) {
            return false;
        }
        if (mode == MODE_GITLINK && path_is_plain_relative(index->path) && found->count < SUBMODULE_LIMIT) {
            strings_add(found, mem_copy(index->path, strlen(index->path)));
        }
    }
    return ends_well(index);
}

/* Which hash a repository uses stands elsewhere: with the wrong one the entries make no sense. */
static struct strings parse_index(const unsigned char *bytes, size_t length) {
    static const size_t hashes[] = {20, 32};
    struct strings found = {0};
    uint32_t version = length < INDEX_HEADER || memcmp(bytes, "DIRC", 4) != 0 ? 0 : number(bytes + 4);
    for (size_t i = 0; version >= 2 && version <= 4 && i < sizeof hashes / sizeof *hashes; i++) {
        struct index index = {.bytes = bytes, .length = length, .version = version, .hash = hashes[i]};
        if (read_entries(&index, &found)) {
            return found;
        }
    }
    return (struct strings){0};
}

/* A copy, because a file that shrinks under a mapping ends the process. */
struct strings git_submodules(const char *path) {
    off_t size;
    struct strings none = {0};
    int fd = open_regular(path, &size);
    if (fd < 0) {
        return none;
    }
    size_t room = size > 0 && size <= INDEX_LIMIT ? (size_t)size : 0;
    unsigned char *bytes = room ? mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    size_t length = 0;
    for (ssize_t got = 1; bytes != MAP_FAILED && length < room && got > 0; length += got > 0 ? (size_t)got : 0) {
        got = read(fd, bytes + length, room - length);
    }
    close(fd);
    if (bytes == MAP_FAILED) {
        return none;
    }
    struct strings found = parse_index(bytes, length);
    munmap(bytes, room);
    return found;
}
