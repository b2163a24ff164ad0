#include "mountlist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "mountinfo.h"
#include "parts.h"
#include "path.h"

enum { PIECE_LIMIT = 96 * 1024, ENTRY_LIMIT = 2 * 4 * PATH_LIMIT + 128 };

static const char *const words[] = {
    [JOB_NONE] = "none",           [JOB_READ] = "read",           [JOB_WRITE] = "write",
    [JOB_PIN] = "pin",             [JOB_MISSING] = "missing",     [JOB_TMP] = "tmp",
    [JOB_LINK] = "link",           [JOB_AGAIN] = "again",         [HAS_WRITE] = "bwrap-write",
    [HAS_READ] = "bwrap-read",     [HAS_TMP] = "bwrap-tmp",       [HAS_DEVICE] = "bwrap-device",
};

static enum job_kind kind_of(const struct entry *entry) {
    bool alone = entry->made_by == MADE_BY_BWRAP;
    if (entry->made_by == (MADE_BY_BWRAP | MADE_BY_INNER)) {
        return JOB_AGAIN;
    }
    switch (entry->kind) {
        case ENTRY_TMP:
            return alone ? HAS_TMP : JOB_TMP;
        case ENTRY_MISSING:
            return JOB_MISSING;
        case ENTRY_DEVICE:
            return HAS_DEVICE;
        case ENTRY_LINK:
            return JOB_LINK;
        case ENTRY_PIN:
            return JOB_PIN;
        case ENTRY_BIND:
            break;
    }
    switch (entry->access) {
        case ACCESS_NONE:
            return JOB_NONE;
        case ACCESS_READ:
            return alone ? HAS_READ : JOB_READ;
        case ACCESS_WRITE:
            break;
    }
    return alone ? HAS_WRITE : JOB_WRITE;
}

static char *put_escaped(char *to, const char *text) {
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte > ' ' && byte < 0x7f && byte != '\\' && byte != ';') {
            *to++ = (char)byte;
        } else {
            *to++ = '\\';
            *to++ = (char)('0' + (byte >> 6));
            *to++ = (char)('0' + (byte >> 3 & 7));
            *to++ = (char)('0' + (byte & 7));
        }
    }
    return to;
}

static size_t put_entry(char *text, const struct entry *entry) {
    char *to = text + sprintf(text, "%s ", words[kind_of(entry)]);
    if (entry->ino && entry->kind != ENTRY_TMP) { /* a fresh one is another than the host's */
        to += sprintf(to, "%x:%x:%ju ", major(entry->dev), minor(entry->dev), (uintmax_t)entry->ino);
    } else {
        to = stpcpy(to, "- ");
    }
    to = put_escaped(to, entry->path);
    if (entry->kind == ENTRY_LINK) {
        *to++ = ' ';
        to = put_escaped(to, entry->target);
    }
    *to++ = ';';
    return (size_t)(to - text);
}

/* The piece is the latest thing taken until it is whole. */
static void finish(struct strings *pieces, char *piece, size_t length) {
    if (length) {
        mem_trim(piece, length + 1);
        strings_add(pieces, piece);
    }
}

struct strings mountlist_write(const struct entries *entries) {
    struct strings pieces = {0};
    char *piece = mem_take(PIECE_LIMIT);
    size_t length = 0;
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        if (entry->kind == ENTRY_LINK && entry->made_by == MADE_BY_BWRAP) {
            continue;
        }
        if (length + ENTRY_LIMIT > PIECE_LIMIT) {
            finish(&pieces, piece, length);
            piece = mem_take(PIECE_LIMIT);
            length = 0;
        }
        length += put_entry(piece + length, entry);
        piece[length] = '\0';
    }
    finish(&pieces, piece, length);
    return pieces;
}

static bool read_identity(struct identity *identity, const char *text) {
    if (strcmp(text, "-") == 0) {
        *identity = (struct identity){0};
        return true;
    }
    char *end;
    unsigned long dev_major = strtoul(text, &end, 16);
    if (*end != ':') {
        return false;
    }
    unsigned long dev_minor = strtoul(end + 1, &end, 16);
    if (*end != ':') {
        return false;
    }
    *identity = (struct identity){
        .known = true,
        .dev = makedev((unsigned)dev_major, (unsigned)dev_minor),
        .ino = strtoumax(end + 1, &end, 10),
    };
    return *end == '\0';
}

static bool read_kind(enum job_kind *kind, const char *word) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], word) == 0) {
            *kind = (enum job_kind)i;
            return true;
        }
    }
    return false;
}

static bool read_job(struct job *job, char *text) {
    const char *word = cut(&text, ' ');
    const char *identity = cut(&text, ' ');
    char *path = cut(&text, ' ');
    char *target = cut(&text, ' ');
    if (!path || text || !read_kind(&job->kind, word) || !read_identity(&job->identity, identity)) {
        return false;
    }
    if ((job->kind == JOB_LINK) != (target != NULL)) {
        return false;
    }
    mountinfo_unescape(path);
    job->path = path;
    if (target) {
        mountinfo_unescape(target);
        job->target = target;
    }
    return path[0] == '/';
}

bool mountlist_read(struct jobs *jobs, char *text) {
    for (char *part; (part = cut(&text, ';')) && *part;) {
        struct job job = {.source = -1};
        if (!read_job(&job, part)) {
            return false;
        }
        jobs->item = mem_grow(jobs->item, jobs->count, &jobs->room, sizeof *jobs->item);
        jobs->item[jobs->count++] = job;
    }
    return true;
}

void mountlist_nest(struct jobs *jobs) {
    struct job *above = NULL;
    for (size_t i = 0; i < jobs->count; i++) {
        struct job *job = &jobs->item[i];
        while (above && !path_below(job->path, above->path)) {
            above = above->above;
        }
        job->above = above;
        above = job;
    }
}

struct job *mountlist_around(const struct jobs *jobs, const char *path) {
    size_t low = 0;
    size_t high = jobs->count;
    while (low < high) { /* the last that does not come after the path lies at or below what holds it */
        size_t middle = low + (high - low) / 2;
        if (path_compare(jobs->item[middle].path, path) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    struct job *job = low ? &jobs->item[low - 1] : NULL;
    while (job && !path_at_or_below(path, job->path)) {
        job = job->above;
    }
    return job;
}
