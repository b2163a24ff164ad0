#include "caller.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "path.h"
#include "refuse.h"

extern char **environ;

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"

const char *caller_env(const struct caller *caller, const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < caller->env.count; i++) {
        const char *entry = caller->env.item[i];
        if (strncmp(entry, name, length) == 0 && entry[length] == '=') {
            return entry + length + 1;
        }
    }
    return NULL;
}

static const struct passwd *account(const char *user) {
    errno = 0;
    const struct passwd *found = getpwnam(user);
    if (!found) {
        refuse("name an account of this machine; only /etc/passwd is read", "there is no account %.64s", user);
    }
    if (found->pw_uid == 0) {
        refuse("name an unprivileged account", "%.64s is root, and root cannot be sandboxed", user);
    }
    return found;
}

static void switch_to(const struct passwd *user) {
    if (initgroups(user->pw_name, user->pw_gid) != 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0) {
        refuse("run it as root", "cannot become %s: %s", user->pw_name, strerror(errno));
    }
    uid_t real;
    uid_t effective;
    uid_t saved;
    if (getresuid(&real, &effective, &saved) != 0 || real == 0 || effective == 0 || saved == 0) {
        refuse("", "still root after becoming %s", user->pw_name);
    }
}

/* From scratch: root's environment is not the account's. The terminal type is the terminal's. */
static void fresh_environment(struct caller *caller, const struct passwd *user) {
    const char *term = caller_env(caller, "TERM");
    caller->env = (struct strings){0};
    strings_add(&caller->env, mem_text("HOME=%s", user->pw_dir));
    strings_add(&caller->env, mem_text("USER=%s", user->pw_name));
    strings_add(&caller->env, mem_text("LOGNAME=%s", user->pw_name));
    strings_add(&caller->env, mem_text("SHELL=%s", user->pw_shell[0] ? user->pw_shell : "/bin/sh"));
    strings_add(&caller->env, "PATH=" DEFAULT_PATH);
    if (term) {
        strings_add(&caller->env, mem_text("TERM=%s", term));
    }
}

static const char *absolute(const char *path) {
    return path && path[0] == '/' && strlen(path) < PATH_LIMIT ? path : NULL;
}

const char *caller_account_home(const struct caller *caller) {
    const struct passwd *self = getpwuid(caller->uid);
    return self ? absolute(mem_copy(self->pw_dir, strlen(self->pw_dir))) : NULL;
}

void caller_become(struct caller *caller, const char *user) {
    caller->file_owner = getuid();
    for (char **entry = environ; *entry; entry++) {
        strings_add(&caller->env, *entry);
    }
    bool root = getuid() == 0 || geteuid() == 0;
    if (root && !user) {
        refuse("add --user NAME with an unprivileged account",
               "refusing to run as root: uid 0 can write the machine's settings through /proc even in a sandbox");
    }
    if (user) {
        const struct passwd *wanted = account(user);
        if (root) {
            switch_to(wanted);
            fresh_environment(caller, wanted);
        } else if (wanted->pw_uid != getuid()) {
            refuse("run it as root, or without --user", "only root can become %.64s", user);
        }
    }
    caller->uid = getuid();
    caller->home = absolute(caller_env(caller, "HOME"));
}
