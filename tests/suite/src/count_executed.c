/* A plugin for qemu that counts the executed instructions in a range of addresses, and writes their number into a file when
 * the process ends: -plugin FILE,from=ADDRESS,to=ADDRESS,out=FILE
 *
 * qemu's own header is in no package of some distributions, so what is used of it is declared here; it is the same in all
 * versions of the interface but for `target_info`, of which nothing is read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = INTERFACE;

static uint64_t from, to, executed;
static const char *out;

static void run(unsigned processor, void *instructions) {
    (void)processor;
    executed += (uintptr_t)instructions;
}

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    uint64_t place = qemu_plugin_tb_vaddr(block);
    if (from <= place && place < to)
        qemu_plugin_register_vcpu_tb_exec_cb(block, run, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void finished(plugin_id id, void *nothing) {
    (void)id, (void)nothing;
    FILE *file = fopen(out, "w");
    if (!file) return;
    fprintf(file, "%" PRIu64 "\n", executed);
    fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *target_info, int count, char **arguments) {
    (void)target_info;
    for (int i = 0; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value++) return 1;
        if (!strncmp(arguments[i], "from=", 5)) from = strtoull(value, NULL, 0);
        else if (!strncmp(arguments[i], "to=", 3)) to = strtoull(value, NULL, 0);
        else if (!strncmp(arguments[i], "out=", 4)) out = strdup(value);
        else return 1;
    }
    if (!out) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
