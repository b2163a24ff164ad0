#include "plan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "path.h"
#include "records.h"
#include "refuse.h"

#define MAGIC "fleetbox-launch-plan"
#define REFRESH "compile the policy again with the fleetbox version that this launcher came with"

enum { VALUE_LIMIT = 32 * 1024, NAME_LIMIT = 128, HEX_DIGITS = 64, AMOUNT_DIGITS = 18 };

bool plan_is_name(const char *text) {
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return length > 0 && length <= NAME_LIMIT && text[length] == '\0' && text[0] != '.' && text[0] != '-';
}

static bool is_digest(const char *text) {
    const char prefix[] = "sha256:";
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) {
        return false;
    }
    text += sizeof prefix - 1;
    return strspn(text, "0123456789abcdef") == HEX_DIGITS && text[HEX_DIGITS] == '\0';
}

static bool is_place(const char *text) {
    static const char *const holders[] = {"${WORKSPACE}", "${HOME}", "${TMPDIR}"};
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++) {
        size_t length = strlen(holders[i]);
        if (strncmp(text, holders[i], length) == 0) {
            return text[length] == '\0' || (text[length] == '/' && path_is_plain_relative(text + length + 1));
        }
    }
    return path_is_plain_absolute(text);
}

/* A name is looked for along PATH; anything with a slash is a place. */
static bool is_program(const char *text) {
    return is_place(text) || (!strchr(text, '/') && text[0] != '$' && path_is_plain_relative(text));
}

static bool is_limit(const char *text) {
    return strcmp(text, "memory") == 0 || strcmp(text, "pids") == 0 || strcmp(text, "wall") == 0;
}

/* Decimal, no zero, small enough for every place that it is put in. */
static bool is_amount(const char *text) {
    size_t length = strspn(text, "0123456789");
    return length > 0 && length <= AMOUNT_DIGITS && text[length] == '\0' && text[0] != '0';
}

static bool is_access(const char *text) {
    return strcmp(text, "write") == 0 || strcmp(text, "read") == 0 || strcmp(text, "none") == 0;
}

static bool is_vendor(const char *text) {
    static const char *const vendors[] = {"nvidia", "wsl", "amd", "intel", "jetson", "cdi"};
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++) {
        if (strcmp(text, vendors[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* An index, a UUID, a PCI address or a CDI name: what it names is looked for at launch. */
static bool is_selector(const char *text) {
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:=/-");
    return length > 0 && length <= NAME_LIMIT && text[length] == '\0';
}

static bool is_profile(const char *text) {
    return strcmp(text, "compute") == 0 || strcmp(text, "graphics") == 0;
}

static bool is_yes(const char *text) {
    return strcmp(text, "yes") == 0;
}

static bool is_arch(const char *text) {
    return strcmp(text, "x86_64") == 0 || strcmp(text, "aarch64") == 0;
}

static bool is_variant(const char *text) {
    return strcmp(text, "unix") == 0 || strcmp(text, "nounix") == 0 || strcmp(text, "alone") == 0;
}

/* The length of a leading variable name, 0 for none. */
static size_t variable_length(const char *text) {
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return text[0] >= '0' && text[0] <= '9' ? 0 : length;
}

static bool is_variable(const char *text) {
    size_t length = variable_length(text);
    return length > 0 && length <= NAME_LIMIT && text[length] == '\0';
}

static bool is_variable_pattern(const char *text) {
    size_t length = variable_length(text);
    return length > 0 && length <= NAME_LIMIT && (text[length] == '\0' || strcmp(text + length, "*") == 0);
}

static bool is_value(const char *text) {
    return strlen(text) <= VALUE_LIMIT;
}

typedef bool (*valid)(const char *text);

static const struct {
    const char *name;
    valid arg[PLAN_ARGS];
} known_ops[] = {
    [OP_GPU_VENDOR] = {"gpu-vendor", {is_vendor}},
    [OP_GPU_SELECT] = {"gpu-select", {is_selector}},
    [OP_GPU_PROFILE] = {"gpu-profile", {is_profile}},
    [OP_GPU_EXCLUSIVE] = {"gpu-exclusive", {is_yes}},
    [OP_DEVICE] = {"device", {path_is_plain_absolute}},
    [OP_RULE] = {"rule", {is_access, is_place}},
    [OP_GLOB] = {"glob", {is_place, path_is_plain_relative}},
    [OP_PROTECT] = {"protect", {path_is_plain_relative}},
    [OP_PROTECT_PART] = {"protect-part", {path_is_plain_relative, path_is_plain_relative}},
    [OP_MASK] = {"mask", {is_place}},
    [OP_MASK_WSL] = {"mask-wsl", {is_place}},
    [OP_KEEP] = {"keep", {is_place}},
    [OP_MINIMAL] = {"minimal", {path_is_plain_absolute}},
    [OP_ENV_PASS] = {"env-pass", {is_variable_pattern}},
    [OP_ENV_SET] = {"env-set", {is_variable, is_value}},
    [OP_SECCOMP] = {"seccomp", {is_arch, is_variant, plan_is_name}},
    [OP_PROGRAM] = {"program", {is_program}},
    [OP_LIMIT] = {"limit", {is_limit, is_amount}},
};

/* Returns how many records the head has. */
static size_t read_head(struct plan *plan, struct records *records) {
    static const struct {
        const char *name;
        size_t field;
        const char *words[4];
    } settings[] = {
        {"mode", offsetof(struct plan, mode), {"read-only", "workspace-write", "full-access"}},
        {"root", offsetof(struct plan, root), {"host", "minimal"}},
        {"workspace", offsetof(struct plan, workspace), {"write", "read"}},
        {"tmp", offsetof(struct plan, tmp), {"private", "host", "none"}},
        {"network", offsetof(struct plan, network), {"none", "host"}},
        {"nested", offsetof(struct plan, nested), {"no", "yes"}},
        {"host-pids", offsetof(struct plan, host_pids), {"no", "yes"}},
        {"unix-sockets", offsetof(struct plan, sockets), {"auto", "none", "private"}},
        {"gpu", offsetof(struct plan, gpu), {"none", "auto", "required"}},
        {"landlock", offsetof(struct plan, landlock), {"off", "best-effort", "required"}},
    };
    if (strcmp(records_next(records), "policy") != 0 || !plan_is_name(plan->policy = records_next(records)) ||
        !is_digest(plan->digest = records_next(records))) {
        refuse(REFRESH, "the launch plan does not name its policy first");
    }
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (strcmp(records_next(records), settings[i].name) != 0) {
            refuse(REFRESH, "the launch plan lacks \"%s\" in its place", settings[i].name);
        }
        const char *word = records_next(records);
        int value = 0;
        while (settings[i].words[value] && strcmp(settings[i].words[value], word) != 0) {
            value++;
        }
        if (!settings[i].words[value]) {
            refuse(REFRESH, "the launch plan has an unknown value for \"%s\": %.40s", settings[i].name, word);
        }
        memcpy((char *)plan + settings[i].field, &value, sizeof value);
    }
    return 1 + sizeof settings / sizeof *settings;
}

static void read_op(struct plan *plan, struct records *records, const char *name) {
    size_t kind = 0;
    const size_t kinds = sizeof known_ops / sizeof *known_ops;
    while (kind < kinds && strcmp(known_ops[kind].name, name) != 0) {
        kind++;
    }
    if (kind == kinds) {
        refuse(REFRESH, "the launch plan has an unknown or misplaced operation: %.40s", name);
    }
    struct op op = {.kind = (enum op_kind)kind};
    for (size_t i = 0; i < PLAN_ARGS && known_ops[kind].arg[i]; i++) {
        op.arg[i] = records_next(records);
        if (!known_ops[kind].arg[i](op.arg[i])) {
            refuse(REFRESH, "the launch plan has a bad value in \"%s\": %.200s", name, op.arg[i]);
        }
    }
    plan->op = mem_grow(plan->op, plan->op_count, &plan->op_room, sizeof *plan->op);
    plan->op[plan->op_count++] = op;
}

void plan_parse(struct plan *plan, const char *bytes, size_t length) {
    struct records records = {bytes, bytes + length, "the launch plan", REFRESH};
    if (length > PLAN_LIMIT) {
        refuse("split the policy", "the launch plan is larger than %d bytes", PLAN_LIMIT);
    }
    records_begin(&records, MAGIC, PLAN_FORMAT);
    size_t count = read_head(plan, &records);
    for (;;) {
        const char *name = records_next(&records);
        if (++count > PLAN_RECORDS) {
            refuse("split the policy", "the launch plan has more than %d records", PLAN_RECORDS);
        }
        if (strcmp(name, "end") == 0) {
            break;
        }
        read_op(plan, &records, name);
    }
    if (records.at != records.end) {
        refuse(REFRESH, "the launch plan goes on after its end");
    }
}
