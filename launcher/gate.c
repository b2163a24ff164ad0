#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "path.h"
#include "refuse.h"

/* The files that role userns writes. */
#define MAX_USER_FILE "/etc/sysctl.d/60-fleetbox-max-user-namespaces.conf"
#define USERNS_CLONE_FILE "/etc/sysctl.d/60-fleetbox-unprivileged-userns-clone.conf"

void gate_refuse_wsl1(int wsl) {
    if (wsl == 1) {
        refuse("in PowerShell: wsl --set-version <distro> 2",
               "this is WSL1, which has no user namespaces; sandboxes need WSL2");
    }
}

/* The number in a small file; -1 when it is not there. */
static long setting(const char *path) {
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (length <= 0) {
        return -1;
    }
    text[length] = '\0';
    return strtol(text, NULL, 10);
}

/* Tried in a child: the user would be another one in the namespace, and the refusal log is by user. */
static int namespace_problem(int flags) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(unshare(flags) == 0 ? 0 : errno);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* Anything mounted below /proc makes the kernel refuse a fresh one in a user namespace, but for what covers
 * an empty directory that was made to be mounted on. */
static bool hides_proc(const char *place) {
    return path_below(place, "/proc") && !path_at_or_below(place, "/proc/sys/fs/binfmt_misc") &&
           !path_at_or_below(place, "/proc/fs/nfsd");
}

bool gate_proc_is_masked(void) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[2 * PATH_LIMIT];
    bool masked = false;
    while (mounts && !masked && fgets(line, sizeof line, mounts)) {
        char place[PATH_LIMIT];
        masked = sscanf(line, "%*s %*s %*s %*s %4095s", place) == 1 && hides_proc(place);
    }
    if (mounts) {
        fclose(mounts);
    }
    return masked;
}

void gate_refuse(const struct launch *launch, const char *bwrap, int code) {
    if (access("/proc/self/ns/user", F_OK) != 0) {
        refuse("boot a kernel with CONFIG_USER_NS", "this kernel has no user namespaces");
    }
    if (setting("/proc/sys/user/max_user_namespaces") == 0) {
        refuse("as root: echo user.max_user_namespaces=15000 > " MAX_USER_FILE " && sysctl --system",
               "user namespaces are switched off: user.max_user_namespaces is 0");
    }
    if (setting("/proc/sys/kernel/unprivileged_userns_clone") == 0) {
        refuse("as root: echo kernel.unprivileged_userns_clone=1 > " USERNS_CLONE_FILE " && sysctl --system",
               "user namespaces are closed to users: kernel.unprivileged_userns_clone is 0");
    }
    if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1) {
        refuse("run the role fleetbox.sandbox.userns: it installs a bwrap with an AppArmor profile of its own",
               "AppArmor restricts user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1");
    }
    int problem = namespace_problem(CLONE_NEWUSER);
    if (problem) {
        refuse("in a container its seccomp profile must allow clone, unshare and mount; with SELinux look for denials of "
               "userns_create", "the kernel or a filter refuses a user namespace: %s", strerror(problem));
    }
    problem = launch->plan.network == NETWORK_NONE ? namespace_problem(CLONE_NEWUSER | CLONE_NEWNET) : 0;
    if (problem) {
        refuse("allow them: user.max_net_namespaces above 0; without them only network.mode: host can run",
               "the kernel or a filter refuses a network namespace: %s", strerror(problem));
    }
    if (!launch->host_pids && gate_proc_is_masked()) {
        refuse("in a container: --security-opt systempaths=unconfined; or let the policy say process.allow_host_pids: true",
               "/proc is masked here, so that no fresh one can be mounted");
    }
    refuse("`fleetbox doctor` tries user, network and PID namespaces one by one and names what is blocked; in a "
           "container its seccomp profile must allow clone, unshare and mount",
           "%s could not make the sandbox (it ended with %d)", bwrap, code);
}
