/* What the launcher asks of the inner stage, as text in its arguments: `WORD IDENTITY PATH [TARGET];` for each entry,
 * parents first. So a line printed by --dry-run says all of it and still runs. Bytes that are no printable ASCII,
 * blanks, semicolons and backslashes are octal escapes, as in mountinfo. */
#ifndef FLEETBOX_MOUNTLIST_H
#define FLEETBOX_MOUNTLIST_H

#include <sys/types.h>

#include "entries.h"
#include "frozen.h"
#include "mem.h"

enum job_kind {
    JOB_NONE,    /* a mask */
    JOB_SOCKET,  /* the same, over what may have gone by then */
    JOB_READ,    /* what is there, read-only */
    JOB_WRITE,   /* writable again, below something that is not */
    JOB_PIN,     /* what is there, as a mount of its own */
    JOB_MISSING, /* an empty directory that stays empty; made where the identity says that nothing is there */
    JOB_TMP,     /* a fresh private directory */
    JOB_LINK,    /* a symlink to the target */
    JOB_AGAIN,   /* bwrap bound it; now it is bound again over what covers it */
    JOB_SNAPSHOT, /* the directory as it is now, whatever others do to its names */
    HAS_WRITE,   /* the others are bwrap's alone: to be verified, and to be known as the surroundings of the rest */
    HAS_READ,
    HAS_TMP,
    HAS_DEVICE,
    LATER_NAME, /* nothing that has come to be there since the launcher looked is part of a snapshot */
    LATER_LINK, /* nor anything but a link */
    LATER_GLOB, /* nor what matches the target by now, as a pattern below the path */
};

/* The file that the launcher looked at; `known` is false where there was none. */
struct identity {
    bool known;
    dev_t dev;
    ino_t ino;
};

struct job {
    const char *path; /* first, for path_holder */
    enum job_kind kind;
    struct identity identity;
    const char *target;      /* JOB_LINK, LATER_GLOB */
    struct job *above; /* the innermost that holds this one; NULL for none */
    int source;              /* where it is bound from, when that must be opened before something covers it; or -1 */
    bool filled;             /* a mask, or a fresh directory, with something visible below it */
    struct clones {
        bool wanted[2];
        int fd[2];
    } clones;              /* of a writable mount, and of what is mounted below it: see enum clone in carve.c */
    struct identity shown; /* what must be seen at the path in the end */
    int place;             /* JOB_SNAPSHOT: the directory of our own that is shown */
    struct taken *taken;   /* and what is bound in it: see snapshot.c */
    size_t taken_count;
    size_t taken_room;
};

struct jobs {
    struct job *item;
    size_t count;
    size_t room;
    struct later_jobs {
        struct job *item;
        size_t count;
        size_t room;
    } later; /* LATER_; in order once they are nested */
};

/* In pieces, because the kernel takes no argument above 128 KiB. */
struct strings mountlist_write(const struct entries *entries, const struct frozen *frozen, const struct later *later);

/* Adds one piece; the text is changed in place and must stay. False when it is not of this form. */
bool mountlist_read(struct jobs *jobs, char *text);

/* Once all pieces are read: fills in `above`. */
void mountlist_nest(struct jobs *jobs);

/* The innermost at or above `path`; NULL for none. */
struct job *mountlist_around(const struct jobs *jobs, const char *path);

/* Appends TEXT with everything but printable ASCII, and blanks, semicolons and backslashes, as octal escapes; at most
 * four bytes for one, no NUL. Returns the end. mountinfo_unescape takes it back. */
char *put_escaped(char *to, const char *text);

#endif
