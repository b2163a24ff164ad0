#include "programs.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"
#include "places.h"

enum { SEGMENT_LIMIT = 64, SCRIPT_LINE = 256 };

static void skip(struct launch *launch, const char *program, const char *reason) {
    strings_add(&launch->skipped, mem_text("%s: %s", program, reason));
}

static bool is_listed(const struct launch *launch, const char *path) {
    for (size_t i = 0; i < launch->landlock.programs.count; i++) {
        if (strcmp(launch->landlock.programs.item[i], path) == 0) {
            return true;
        }
    }
    return false;
}

static void add(struct launch *launch, const char *path) {
    if (!is_listed(launch, path)) {
        strings_add(&launch->landlock.programs, path);
    }
}

/* Where the sandbox shows the host's own file: not below a mask or a private /tmp. */
static bool is_visible(const struct launch *launch, const char *path) {
    const struct entry *entry = entries_deciding(&launch->entries, path);
    if (!entry) {
        return launch->plan.root == ROOT_HOST;
    }
    return entry->access != ACCESS_NONE && entry->kind != ENTRY_TMP && entry->kind != ENTRY_MISSING;
}

/* The canonical path of an executable file that the sandbox shows; NULL if it is none. */
static const char *executable(const struct launch *launch, const char *path) {
    char canonical[PATH_LIMIT];
    struct stat st;
    if (!realpath(path, canonical) || stat(canonical, &st) != 0 || !S_ISREG(st.st_mode) ||
        access(canonical, X_OK) != 0 || !is_visible(launch, canonical)) {
        return NULL;
    }
    return mem_copy(canonical, strlen(canonical));
}

static const char *path_variable(const struct launch *launch) {
    for (size_t i = 0; i < launch->env.count; i++) {
        if (strncmp(launch->env.item[i], "PATH=", 5) == 0) {
            return launch->env.item[i] + 5;
        }
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

/* A name never means a file that a workload can write: an earlier one may have put it there. */
static const char *find_named(const struct launch *launch, const char *name) {
    for (const char *path = path_variable(launch); *path;) {
        size_t length = strcspn(path, ":");
        const char *dir = mem_copy(path, length);
        path += length + (path[length] == ':');
        const char *found = dir[0] == '/' ? executable(launch, path_join(dir, name)) : NULL;
        if (found && !roots_holding(&launch->roots, found)) {
            return found;
        }
    }
    return NULL;
}

static bool read_at(int fd, void *to, size_t size, uint64_t offset) {
    return offset <= INT64_MAX && pread(fd, to, size, (off_t)offset) == (ssize_t)size;
}

static const char *text_at(int fd, uint64_t offset, uint64_t size) {
    char text[PATH_LIMIT];
    if (size < 2 || size > sizeof text || !read_at(fd, text, size, offset) || text[size - 1] != '\0') {
        return NULL;
    }
    return mem_copy(text, strlen(text));
}

/* PT_INTERP of a 64-bit program; NULL for a static one. */
static const char *interpreter64(int fd) {
    Elf64_Ehdr head;
    if (!read_at(fd, &head, sizeof head, 0) || head.e_phentsize != sizeof(Elf64_Phdr)) {
        return NULL;
    }
    for (unsigned i = 0; i < head.e_phnum && i < SEGMENT_LIMIT; i++) {
        Elf64_Phdr segment;
        if (read_at(fd, &segment, sizeof segment, head.e_phoff + i * sizeof segment) && segment.p_type == PT_INTERP) {
            return text_at(fd, segment.p_offset, segment.p_filesz);
        }
    }
    return NULL;
}

static const char *interpreter32(int fd) {
    Elf32_Ehdr head;
    if (!read_at(fd, &head, sizeof head, 0) || head.e_phentsize != sizeof(Elf32_Phdr)) {
        return NULL;
    }
    for (unsigned i = 0; i < head.e_phnum && i < SEGMENT_LIMIT; i++) {
        Elf32_Phdr segment;
        if (read_at(fd, &segment, sizeof segment, head.e_phoff + i * sizeof segment) && segment.p_type == PT_INTERP) {
            return text_at(fd, segment.p_offset, segment.p_filesz);
        }
    }
    return NULL;
}

/* The kernel executes the loader together with the program, and asks Landlock about both. */
static void add_loader(struct launch *launch, const char *program, int fd, const char *start) {
    if (memcmp(start, ELFMAG, SELFMAG) != 0) {
        return;
    }
    const char *wanted = start[EI_CLASS] == ELFCLASS64 ? interpreter64(fd) : interpreter32(fd);
    const char *loader = wanted && wanted[0] == '/' ? executable(launch, wanted) : NULL;
    if (loader) {
        add(launch, loader);
    } else if (wanted) {
        skip(launch, program, "its loader is not there, so that it cannot start");
    }
}

/* What runs a script is not added: who allows a script need not mean every script of that interpreter. */
static void note_script(struct launch *launch, const char *program, const char *start) {
    if (start[0] != '#' || start[1] != '!') {
        return;
    }
    const char *word = start + 2 + strspn(start + 2, " \t");
    const char *interpreter = executable(launch, mem_copy(word, strcspn(word, " \t\n")));
    if (!interpreter || !is_listed(launch, interpreter)) {
        skip(launch, program, "is a script whose interpreter is not listed, so that it cannot start");
    }
}

static void look_into(struct launch *launch, const char *program, bool scripts) {
    char start[SCRIPT_LINE + 1] = "";
    int fd = open(program, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* it may be a FIFO by now */
    if (fd < 0) {
        return;
    }
    if (pread(fd, start, SCRIPT_LINE, 0) > (ssize_t)EI_NIDENT) {
        if (scripts) {
            note_script(launch, program, start);
        } else {
            add_loader(launch, program, fd, start);
        }
    }
    close(fd);
}

static void add_program(struct launch *launch, const char *wanted) {
    bool named = !strchr(wanted, '/') && wanted[0] != '$';
    const char *found = named ? find_named(launch, wanted) : executable(launch, expand(launch, wanted));
    if (!found) {
        skip(launch, wanted, "no such program in the sandbox, nothing to allow");
        return;
    }
    if (roots_holding(&launch->roots, found)) {
        skip(launch, found, "may be executed, and the workload can write it");
    }
    add(launch, found);
}

void programs_choose(struct launch *launch) {
    if (!(launch->landlock.layers & LANDLOCK_PROGRAMS)) {
        return;
    }
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        if (launch->plan.op[i].kind == OP_PROGRAM) {
            add_program(launch, launch->plan.op[i].arg[0]);
        }
    }
    size_t listed = launch->landlock.programs.count; /* loaders follow; they need none themselves */
    for (size_t i = 0; i < listed; i++) {
        look_into(launch, launch->landlock.programs.item[i], false);
    }
    for (size_t i = 0; i < listed; i++) {
        look_into(launch, launch->landlock.programs.item[i], true);
    }
}
