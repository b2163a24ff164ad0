#include "mountinfo.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "files.h"
#include "mem.h"

enum { TABLE_LIMIT = 4 * 1024 * 1024 };

void mountinfo_unescape(char *text) {
    char *to = text;
    for (char *from = text; *from; to++) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static unsigned long flags_of(char *options) {
    unsigned long flags = 0;
    for (char *option; (option = cut(&options, ','));) {
        flags |= strcmp(option, "ro") == 0       ? MS_RDONLY
                 : strcmp(option, "nosuid") == 0 ? MS_NOSUID
                 : strcmp(option, "nodev") == 0  ? MS_NODEV
                                                 : 0UL;
    }
    return flags;
}

/* What follows the options: "TAG... - TYPE SOURCE OPTIONS", with any number of tags. */
static const char *type_of(char *rest) {
    const char *word = "";
    while (word && strcmp(word, "-") != 0) {
        word = cut(&rest, ' ');
    }
    return word ? cut(&rest, ' ') : NULL;
}

/* "ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS ...". */
static bool read_line(struct mount *mount, char *line) {
    enum { DEVICE = 2, ROOT, PLACE, OPTIONS, FIELDS };
    char *field[FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        field[i] = cut(&line, ' ');
        if (!field[i]) {
            return false;
        }
    }
    mountinfo_unescape(field[PLACE]);
    mountinfo_unescape(field[ROOT]);
    const char *type = type_of(line);
    *mount = (struct mount){
        .path = field[PLACE],
        .device = field[DEVICE],
        .root = field[ROOT],
        .type = type ? type : "",
        .flags = flags_of(field[OPTIONS]),
    };
    return true;
}

bool mountinfo_read(struct mounts *mounts) {
    int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t length;
    char *text = read_limited(fd, TABLE_LIMIT, &length, "the mount table");
    close(fd);
    for (char *line; (line = cut(&text, '\n'));) {
        struct mount mount;
        if (read_line(&mount, line)) {
            mount.number = mounts->count;
            mounts->item = mem_grow(mounts->item, mounts->count, &mounts->room, sizeof *mounts->item);
            mounts->item[mounts->count++] = mount;
        }
    }
    return true;
}
