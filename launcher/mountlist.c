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
    [JOB_NONE] = "none",           [JOB_SOCKET] = "socket",       [JOB_READ] = "read",           [JOB_WRITE] = "write",
    [JOB_PIN] = "pin",             [JOB_MISSING] = "missing",     [JOB_TMP] = "tmp",
    [JOB_LINK] = "link",           [JOB_AGAIN] = "again",         [JOB_SNAPSHOT] = "snapshot",
    [HAS_WRITE] = "bwrap-write",   [HAS_READ] = "bwrap-read",     [HAS_TMP] = "bwrap-tmp",
    [HAS_DEVICE] = "bwrap-device", [LATER_NAME] = "later",        [LATER_LINK] = "later-link",
    [LATER_GLOB] = "later-glob",
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
            return entry->fleeting ? JOB_SOCKET : JOB_NONE;
        case ACCESS_READ:
            return alone ? HAS_READ : JOB_READ;
        case ACCESS_WRITE:
            break;
    }
    return alone ? HAS_WRITE : JOB_WRITE;
}

char *put_escaped(char *to, const char *text) {
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

static struct identity identity_of(const struct entry *entry) {
    bool known = entry->ino && entry->kind != ENTRY_TMP; /* a fresh one is another than the host's */
    return known ? (struct identity){true, entry->dev, entry->ino} : (struct identity){0};
}

static char *put_job(char *to, enum job_kind kind, const struct identity *identity, const char *path) {
    to += sprintf(to, "%s ", words[kind]);
    if (identity->known) {
        to += sprintf(to, "%x:%x:%ju ", major(identity->dev), minor(identity->dev), (uintmax_t)identity->ino);
    } else {
        to = stpcpy(to, "- ");
    }
    return put_escaped(to, path);
}

/* The pieces written so far; the last one is the latest thing taken, until it is whole. */
struct writing {
    struct strings pieces;
    char *piece;
    char *at;
};

static void finish_piece(struct writing *writing) {
    if (writing->piece && writing->at > writing->piece) {
        mem_trim(writing->piece, (size_t)(writing->at - writing->piece) + 1);
        strings_add(&writing->pieces, writing->piece);
    }
    writing->piece = NULL;
}

static void write_job(struct writing *writing, enum job_kind kind, const struct identity *identity, const char *path,
                      const char *target) {
    if (writing->piece && writing->at - writing->piece + ENTRY_LIMIT > PIECE_LIMIT) {
        finish_piece(writing);
    }
    if (!writing->piece) {
        writing->piece = writing->at = mem_take(PIECE_LIMIT);
    }
    writing->at = put_job(writing->at, kind, identity, path);
    if (target) {
        *writing->at++ = ' ';
        writing->at = put_escaped(writing->at, target);
    }
    *writing->at++ = ';';
    *writing->at = '\0';
}

/* Those that come before `path`, or all that are left: a snapshot comes after what is bound at its place. */
static void write_frozen(struct writing *writing, const struct frozen *frozen, size_t *next, const char *path) {
    while (*next < frozen->count && (!path || path_compare(frozen->item[*next].path, path) < 0)) {
        const struct frozen_dir *dir = &frozen->item[(*next)++];
        const struct identity identity = {true, dir->dev, dir->ino};
        write_job(writing, JOB_SNAPSHOT, &identity, dir->path, NULL);
    }
}

static void write_later(struct writing *writing, const struct later *later) {
    const struct identity none = {0};
    for (size_t i = 0; i < later->names.count; i++) {
        write_job(writing, LATER_NAME, &none, later->names.item[i], NULL);
    }
    for (size_t i = 0; i < later->links.count; i++) {
        write_job(writing, LATER_LINK, &none, later->links.item[i], NULL);
    }
    for (size_t i = 0; i < later->globs.count; i += 2) {
        write_job(writing, LATER_GLOB, &none, later->globs.item[i], later->globs.item[i + 1]);
    }
}

struct strings mountlist_write(const struct entries *entries, const struct frozen *frozen, const struct later *later) {
    struct writing writing = {0};
    size_t next = 0;
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        if (entry->kind == ENTRY_LINK && entry->made_by == MADE_BY_BWRAP) {
            continue;
        }
        const struct identity identity = identity_of(entry);
        write_frozen(&writing, frozen, &next, entry->path);
        write_job(&writing, kind_of(entry), &identity, entry->path, entry->kind == ENTRY_LINK ? entry->target : NULL);
    }
    write_frozen(&writing, frozen, &next, NULL);
    if (frozen->count) {
        write_later(&writing, later);
    }
    finish_piece(&writing);
    return writing.pieces;
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
    if ((job->kind == JOB_LINK || job->kind == LATER_GLOB) != (target != NULL)) {
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
        if (job.kind >= LATER_NAME) {
            struct later_jobs *later = &jobs->later;
            later->item = mem_grow(later->item, later->count, &later->room, sizeof *later->item);
            later->item[later->count++] = job;
            continue;
        }
        jobs->item = mem_grow(jobs->item, jobs->count, &jobs->room, sizeof *jobs->item);
        jobs->item[jobs->count++] = job;
    }
    return true;
}

static int by_path(const void *left, const void *right) {
    const struct job *a = left;
    const struct job *b = right;
    int order = path_compare(a->path, b->path);
    return order ? order : (int)b->kind - (int)a->kind; /* of one path, path_holder finds the last, the strictest */
}

void mountlist_nest(struct jobs *jobs) {
    if (jobs->later.count) {
        qsort(jobs->later.item, jobs->later.count, sizeof *jobs->later.item, by_path);
    }
    struct job *above = NULL;
    for (size_t i = 0; i < jobs->count; i++) {
        struct job *job = &jobs->item[i];
        while (above && !path_at_or_below(job->path, above->path)) {
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
