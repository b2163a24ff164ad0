/* What a hostile workload does to protected names, fast: `attack flip MIN_US MAX_US NAME...` changes each between
 * what it is and a symlink to a decoy until SIGTERM, then prints "flips TRIED DONE", as now and then before; `attack probe NAME...` tries to
 * write, replace, remove or move each once, and prints "bypass NAME HOW" for what succeeded, at last "reached".
 * ":NAME" must not be readable; "@MS" waits. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DECOY "decoy"

static volatile sig_atomic_t ending;
static unsigned long tried;
static unsigned long done;

static void end(int number) {
    (void)number;
    ending = 1;
}

static int exchange(const char *a, const char *b) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* RENAME_EXCHANGE */);
}

static void count(int result) {
    tried++;
    done += result == 0;
}

/* One step of a name: whatever it is now, it becomes the other thing if that can be had in any way. */
static void flip(const char *name) {
    char swap[512];
    snprintf(swap, sizeof swap, "%s.swap", name);
    struct stat st;
    struct stat other;
    if (lstat(swap, &other) != 0) {
        other.st_mode = symlink(DECOY, swap) == 0 ? S_IFLNK : 0;
    }
    if (lstat(name, &st) != 0) {
        count(symlink(DECOY, name));
    } else if (S_ISLNK(st.st_mode) != S_ISLNK(other.st_mode) && exchange(name, swap) == 0) {
        count(0);
    } else if (S_ISLNK(st.st_mode)) {
        count(unlink(name) == 0 ? mkdir(name, 0755) : -1);
    } else {
        count(rmdir(name) == 0 || rename(name, DECOY "/aside") == 0 ? symlink(DECOY, name) : -1);
    }
}

static void say_flips(void) {
    printf("flips %lu %lu\n", tried, done);
    fflush(stdout);
}

static int flip_all(int low, int high, char **names) {
    signal(SIGTERM, end);
    srand((unsigned)getpid());
    mkdir(DECOY, 0755);
    unsigned long rounds = 0;
    while (!ending) {
        for (char **name = names; *name; name++) {
            flip(*name);
        }
        if (++rounds % 16 == 0) { /* some are killed */
            say_flips();
        }
        long pause = low + rand() % (high - low + 1);
        nanosleep(&(struct timespec){.tv_nsec = pause * 1000}, NULL);
    }
    for (char **name = names; *name; name++) { /* what the others must not find as rubbish */
        char swap[512];
        snprintf(swap, sizeof swap, "%s.swap", *name);
        unlink(swap);
    }
    say_flips();
    return 0;
}

static void say(const char *name, const char *how) {
    printf("bypass %s %s\n", name, how);
}

static void probe_secret(const char *name) {
    char byte;
    int fd = open(name, O_RDONLY);
    if (fd >= 0 && read(fd, &byte, 1) == 1) {
        say(name, "read");
    }
    close(fd);
}

static void probe(const char *name) {
    char below[512];
    char moved[512];
    snprintf(below, sizeof below, "%s/probe-%d", name, (int)getpid());
    snprintf(moved, sizeof moved, "%s.moved-%d", name, (int)getpid());
    int fd = open(below, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        say(name, "written below");
        unlink(below);
        close(fd);
    }
    fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        say(name, "opened for writing");
        close(fd);
    }
    if (mkdir(name, 0755) == 0) {
        say(name, "made");
        rmdir(name);
    }
    if (rename(name, moved) == 0) {
        say(name, "moved");
        rename(moved, name);
    }
    struct stat st;
    if (lstat(name, &st) == 0 && S_ISLNK(st.st_mode) && unlink(name) == 0) {
        say(name, "removed");
        symlink(DECOY, name);
    }
}

int main(int argc, char **argv) {
    if (argc > 4 && strcmp(argv[1], "flip") == 0) {
        return flip_all(atoi(argv[2]), atoi(argv[3]), argv + 4);
    }
    if (argc > 2 && strcmp(argv[1], "probe") == 0) {
        for (char **name = argv + 2; *name; name++) {
            if (**name == '@') {
                nanosleep(&(struct timespec){.tv_nsec = atol(*name + 1) * 1000000}, NULL);
            } else {
                **name == ':' ? probe_secret(*name + 1) : probe(*name);
            }
        }
        puts("reached");
        return 0;
    }
    return 2;
}
