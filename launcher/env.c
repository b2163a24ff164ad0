#include "env.h"

#include <string.h>

#include "path.h"
#include "refuse.h"

static size_t name_length(const char *entry) {
    return strcspn(entry, "=");
}

static void set(struct strings *env, const char *name, const char *value) {
    size_t length = strlen(name);
    const char *entry = mem_text("%s=%s", name, value);
    for (size_t i = 0; i < env->count; i++) {
        if (name_length(env->item[i]) == length && strncmp(env->item[i], name, length) == 0) {
            env->item[i] = entry;
            return;
        }
    }
    strings_add(env, entry);
}

static bool has(const struct strings *env, const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < env->count; i++) {
        if (name_length(env->item[i]) == length && strncmp(env->item[i], name, length) == 0) {
            return true;
        }
    }
    return false;
}

static void unset(struct strings *env, const char *name) {
    size_t length = strlen(name);
    size_t kept = 0;
    for (size_t i = 0; i < env->count; i++) {
        if (name_length(env->item[i]) != length || strncmp(env->item[i], name, length) != 0) {
            env->item[kept++] = env->item[i];
        }
    }
    env->count = kept;
    if (env->item) {
        env->item[kept] = NULL;
    }
}

static bool pattern_matches(const char *pattern, const char *name, size_t length) {
    size_t fixed = strcspn(pattern, "*");
    return pattern[fixed] ? length >= fixed && strncmp(name, pattern, fixed) == 0
                          : length == fixed && strncmp(name, pattern, fixed) == 0;
}

static bool is_passed(const struct plan *plan, const char *entry) {
    for (size_t i = 0; i < plan->op_count; i++) {
        const struct op *op = &plan->op[i];
        if (op->kind == OP_ENV_PASS && pattern_matches(op->arg[0], entry, name_length(entry))) {
            return true;
        }
    }
    return false;
}

/* Windows programs found through PATH would run outside of every Linux namespace. */
static const char *without_windows(const char *path) {
    char *kept = mem_take(strlen(path) + 1);
    kept[0] = '\0';
    while (*path) {
        size_t length = strcspn(path, ":");
        bool windows = length >= 5 && strncmp(path, "/mnt/", 5) == 0;
        if (!windows && length) {
            if (kept[0]) {
                strcat(kept, ":");
            }
            strncat(kept, path, length);
        }
        path += length + (path[length] == ':');
    }
    return kept;
}

static void pass(struct launch *launch, const char *entry) {
    size_t length = name_length(entry);
    if (length == 0 || !entry[length] || !is_passed(&launch->plan, entry)) {
        return;
    }
    const char *name = mem_copy(entry, length);
    const char *value = entry + length + 1;
    if (launch->wsl2 && strcmp(name, "WSL_INTEROP") == 0) {
        return;
    }
    set(&launch->env, name, launch->wsl2 && strcmp(name, "PATH") == 0 ? without_windows(value) : value);
}

bool env_steers_loader(const char *entry) {
    static const char *const prefixes[] = {"LD_", "GLIBC_", "GCONV_PATH=", "LOCPATH=", "MALLOC_", "NLSPATH=", "RES_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void set_entry(struct strings *env, const char *entry, bool only_if_missing) {
    size_t length = name_length(entry);
    const char *name = mem_copy(entry, length);
    if (!entry[length]) {
        unset(env, name);
    } else if (!only_if_missing || !has(env, name)) {
        set(env, name, entry + length + 1);
    }
}

static void set_for_gpu(struct launch *launch) {
    for (size_t i = 0; i < launch->gpu_env.count; i++) {
        set_entry(&launch->env, launch->gpu_env.item[i], false);
    }
    for (size_t i = 0; i < launch->gpu_defaults.count; i++) {
        set_entry(&launch->env, launch->gpu_defaults.item[i], true);
    }
}

void env_build(struct launch *launch) {
    for (size_t i = 0; i < launch->caller.env.count; i++) {
        pass(launch, launch->caller.env.item[i]);
    }
    if (launch->plan.tmp == TMP_PRIVATE) {
        set(&launch->env, "TMPDIR", "/tmp");
    }
    set_for_gpu(launch);
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        const struct op *op = &launch->plan.op[i];
        if (op->kind == OP_ENV_SET) {
            set(&launch->env, op->arg[0], op->arg[1]);
        }
    }
    set(&launch->env, "FLEETBOX_SANDBOX", launch->plan.policy);
}
