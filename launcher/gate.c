#include "gate.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gate_texts.h"
#include "refuse.h"
#include "surround.h"

static _Noreturn void shut(enum gate gate, const char *symptom) {
    const struct gate_text *text = &gate_texts[gate];
    refuse(text->remedy, "cannot sandbox (%s): %s%s%s", text->id, text->problem, symptom ? ": " : "",
           symptom ? symptom : "");
}

void gate_refuse_wsl1(int wsl) {
    if (wsl == 1) {
        shut(GATE_WSL1, NULL);
    }
}

/* Root's files are nobody's in a user namespace that maps only the user. */
void gate_refuse_nested(void) {
    struct stat st;
    const char *sandbox = stat("/", &st) == 0 && st.st_uid != 0 ? surround_sandbox() : NULL;
    if (sandbox) {
        shut(GATE_NESTED_SANDBOX, sandbox);
    }
}

bool gate_proc_is_masked(void) {
    return surround_masks_proc();
}

/* Tried in a child: the user would be another one in the namespace, and the refusal log is by user. Where
 * AppArmor restricts them, a namespace can be made and nothing done in it. */
static int namespace_problem(int flags) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        bool made = unshare(flags) == 0;
        bool usable = made && (!(flags & CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        _exit(usable ? 0 : errno);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

bool gate_has_namespaces(void) {
    return namespace_problem(CLONE_NEWUSER | CLONE_NEWNS) == 0;
}

static bool lost_its_privileges(const char *bwrap) {
    struct stat st;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && stat(bwrap, &st) == 0 && (st.st_mode & S_ISUID) &&
           st.st_uid == 0;
}

static void refuse_confined(const char *bwrap) {
    const char *label = surround_apparmor(bwrap);
    if (label) {
        shut(GATE_APPARMOR_PROFILE, label);
    }
}

/* What is around this process and is known to refuse namespaces; returns when nothing is. The order is that of
 * fleetbox/hostside/detect/explain.py. */
static void refuse_surroundings(const char *bwrap, const char *said) {
    if (lost_its_privileges(bwrap)) {
        shut(GATE_BWRAP_NO_NEW_PRIVS, said);
    }
    refuse_confined(bwrap);
    if (surround_setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1) {
        shut(GATE_USERNS_APPARMOR, said);
    }
    if (surround_chroot()) {
        shut(GATE_CHROOT, said);
    }
    if (surround_selinux()) {
        shut(GATE_USERNS_SELINUX, said);
    }
    const char *container = surround_container();
    if (container) {
        shut(GATE_CONTAINER, container);
    }
}

static void refuse_exhausted(int problem) {
    static const char *const others[] = {"cgroup", "ipc", "mnt", "pid", "uts"};
    if (problem != ENOSPC) {
        return;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (surround_none_of(others[i])) {
            shut(GATE_NS_MAX_ZERO, mem_text("user.max_%s_namespaces is 0", others[i]));
        }
    }
    shut(GATE_USERNS_EXHAUSTED, strerror(problem));
}

static void refuse_user(const char *bwrap) {
    if (surround_rhel7_off()) {
        shut(GATE_USERNS_RHEL7, NULL);
    }
    if (access("/proc/self/ns/user", F_OK) != 0) {
        shut(GATE_NO_USERNS_KERNEL, NULL);
    }
    int problem = namespace_problem(CLONE_NEWUSER | CLONE_NEWNS);
    if (!problem) {
        return;
    }
    if (surround_setting("/proc/sys/kernel/unprivileged_userns_clone") == 0) {
        shut(GATE_USERNS_CLONE_SYSCTL, NULL);
    }
    if (surround_none_of("user")) {
        shut(GATE_USERNS_MAX_ZERO, NULL);
    }
    refuse_exhausted(problem);
    refuse_surroundings(bwrap, strerror(problem));
    shut(GATE_USERNS_ERRNO, strerror(problem));
}

static void refuse_net(const char *bwrap) {
    int problem = namespace_problem(CLONE_NEWUSER | CLONE_NEWNET);
    if (problem && surround_none_of("net")) {
        shut(GATE_NETNS_MAX_ZERO, NULL);
    }
    if (surround_gvisor()) {
        shut(GATE_GVISOR, NULL);
    }
    if (problem) {
        refuse_surroundings(bwrap, strerror(problem));
        shut(GATE_NO_NETNS, strerror(problem));
    }
}

static void refuse_others(const char *bwrap) {
    int problem = namespace_problem(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS);
    if (problem) {
        refuse_exhausted(problem);
        refuse_surroundings(bwrap, strerror(problem));
        shut(GATE_USERNS_ERRNO, strerror(problem));
    }
}

void gate_refuse(const struct launch *launch, const char *bwrap, int code) {
    const char *sandbox = surround_sandbox();
    if (sandbox) {
        shut(GATE_NESTED_SANDBOX, sandbox);
    }
    refuse_user(bwrap);
    if (launch->plan.network == NETWORK_NONE) {
        refuse_net(bwrap);
    }
    refuse_others(bwrap);
    if (!launch->host_pids && gate_proc_is_masked()) {
        shut(GATE_PROC_MASKED, NULL);
    }
    refuse_confined(bwrap);
    refuse("`fleetbox doctor` tries the layers of a sandbox one by one and names what is blocked",
           "%s could not make the sandbox (it ended with %d)", bwrap, code);
}
