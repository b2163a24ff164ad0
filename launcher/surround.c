#include "surround.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"
#include "path.h"
#include "small.h"

enum { TEXT_LIMIT = 4096 };

static void read_text(const char *path, char text[TEXT_LIMIT]) {
    small_read(AT_FDCWD, path, text, TEXT_LIMIT);
}

long surround_setting(const char *path) {
    char text[TEXT_LIMIT];
    read_text(path, text);
    return text[0] ? strtol(text, NULL, 10) : -1;
}

bool surround_none_of(const char *kind) {
    return surround_setting(mem_text("/proc/sys/user/max_%s_namespaces", kind)) == 0;
}

const char *surround_sandbox(void) {
    static const struct {
        const char *variable;
        const char *where;
    } marks[] = {
        {"FLEETBOX_SANDBOX", "inside fleetbox (FLEETBOX_SANDBOX is set)"},
        {"CODEX_SANDBOX", "inside Codex (CODEX_SANDBOX is set)"},
        {"CODEX_SANDBOX_NETWORK_DISABLED", "inside Codex (CODEX_SANDBOX_NETWORK_DISABLED is set)"},
        {"SANDBOX_RUNTIME", "inside srt (SANDBOX_RUNTIME is set)"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (getenv(marks[i].variable)) {
            return marks[i].where;
        }
    }
    char text[TEXT_LIMIT];
    read_text("/proc/1/comm", text);
    return strcmp(text, "bwrap\n") == 0 ? "inside bubblewrap (process 1 is bwrap)" : NULL;
}

const char *surround_container(void) {
    if (access("/.dockerenv", F_OK) == 0) {
        return "Docker (/.dockerenv exists)";
    }
    if (access("/run/.containerenv", F_OK) == 0) {
        return "Podman (/run/.containerenv exists)";
    }
    char text[TEXT_LIMIT];
    read_text("/run/systemd/container", text);
    if (text[0]) {
        return mem_text("%.40s", mem_copy(text, strcspn(text, "\n")));
    }
    static const char *const groups[] = {"docker", "kubepods", "libpod", "lxc", "buildkit"};
    read_text("/proc/1/cgroup", text);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (strstr(text, groups[i])) {
            return groups[i];
        }
    }
    return NULL;
}

typedef bool place_test(const char *place);

static bool any_mount(place_test *wanted) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[2 * PATH_LIMIT];
    bool found = false;
    while (mounts && !found && fgets(line, sizeof line, mounts)) {
        char place[PATH_LIMIT];
        found = sscanf(line, "%*s %*s %*s %*s %4095s", place) == 1 && wanted(place);
    }
    if (mounts) {
        fclose(mounts);
    }
    return found;
}

static bool is_root(const char *place) {
    return strcmp(place, "/") == 0;
}

static bool hides_proc(const char *place) {
    return path_below(place, "/proc") && !path_at_or_below(place, "/proc/sys/fs/binfmt_misc") &&
           !path_at_or_below(place, "/proc/fs/nfsd");
}

bool surround_masks_proc(void) {
    return any_mount(hides_proc);
}

bool surround_chroot(void) {
    return access("/proc/self/mountinfo", R_OK) == 0 && !any_mount(is_root);
}

/* Waits for arguments on its standard input, which never come. */
static pid_t start_waiting(const char *program, int input[2]) {
    char *argv[] = {(char *)program, (char *)"--args", (char *)"0", (char *)"--version", NULL};
    char *env[] = {NULL};
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    bool started = posix_spawn(&pid, program, &actions, NULL, argv, env) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return started ? pid : -1;
}

const char *surround_apparmor(const char *program) {
    static const char enforced[] = "(enforce)\n";
    char label[TEXT_LIMIT];
    read_text("/sys/module/apparmor/parameters/enabled", label);
    int input[2];
    if (label[0] != 'Y' || pipe2(input, O_CLOEXEC) != 0) {
        return NULL;
    }
    label[0] = '\0';
    pid_t pid = start_waiting(program, input);
    if (pid > 0) { /* posix_spawn returned after the exec: the label is the program's */
        read_text(mem_text("/proc/%d/attr/current", (int)pid), label);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    close(input[0]);
    close(input[1]);
    size_t length = strlen(label);
    size_t tail = sizeof enforced - 1;
    bool confined = length > tail && strcmp(label + length - tail, enforced) == 0;
    return confined ? mem_text("%.200s", mem_copy(label, length - 1)) : NULL;
}

/* gVisor answers the same build date on every machine. */
bool surround_gvisor(void) {
    char text[TEXT_LIMIT];
    read_text("/proc/version", text);
    return strcasestr(text, "gvisor") || strstr(text, "#1 SMP Sun Jan 10 15:06:54 PST 2016");
}

bool surround_selinux(void) {
    char context[TEXT_LIMIT];
    read_text("/proc/self/attr/current", context);
    return surround_setting("/sys/fs/selinux/enforce") == 1 && context[0] &&
           strncmp(context, "unconfined_u:", 13) != 0 && strncmp(context, "system_u:system_r:unconfined", 28) != 0;
}

bool surround_rhel7_off(void) {
    char text[TEXT_LIMIT];
    read_text("/sys/module/user_namespace/parameters/enable", text);
    return text[0] == 'N';
}
