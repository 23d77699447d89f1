#define _DEFAULT_SOURCE

/* A host as small as can be: loads a compiled model, runs it once, says how long that took and how much memory it took.

       cold_host LIBRARY FUNCTION ARENA_BYTES INPUTS OUTPUTS IN OUT INPUT_BYTES… OUTPUT_BYTES…

   INPUTS is a file with the IN inputs one after the other; the OUT outputs are written to OUTPUTS. On standard output:
   nanoseconds to load the library, to run for the first time (with the arena's allocation), and to run again; then the
   peak of resident memory in KiB before loading and at the end. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* avocet_context of the generated headers. */
struct context {
    void *arena;
    const void *weights;
    void (*parallel_for)(void *, size_t, void (*)(void *, size_t), void *);
    void *pool;
    const int64_t *sizes;
};
typedef int32_t invoke(const void *const *, void *const *, const struct context *);

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* VmHWM of this process, in KiB. */
static long peak(void) {
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld kB", &kib) == 1) break;
    if (f) fclose(f);
    return kib;
}

static void *memory(size_t bytes) {
    size_t size = (bytes + 63) / 64 * 64;
    void *p = aligned_alloc(64, size ? size : 64);
    if (!p) {
        perror("memory");
        exit(2);
    }
    return p;
}

/* The arena on large pages, as the generated header advises. */
static void *arena(size_t bytes) {
    /* Of the last page three quarters must be used: less is on ordinary pages. */
    const size_t page = 2 << 20, large = (bytes + page / 4) / page * page;
    void *p;
    if (!large) return memory(bytes);
    p = aligned_alloc(page, (bytes + page - 1) / page * page);
    if (!p) {
        perror("arena");
        exit(2);
    }
    madvise(p, large, MADV_HUGEPAGE);
    return p;
}

enum { MOST = 64 };

int main(int count, char **words) {
    const void *inputs[MOST];
    void *outputs[MOST];
    size_t bytes[2 * MOST];
    int in = count > 7 ? atoi(words[6]) : 0, out = count > 7 ? atoi(words[7]) : 0, i;
    if (count != 8 + in + out || in < 0 || out < 0 || in > MOST || out > MOST) {
        fprintf(stderr, "usage: see the source\n");
        return 2;
    }
    for (i = 0; i < in + out; i++) bytes[i] = strtoull(words[8 + i], NULL, 10);
    FILE *f = fopen(words[4], "rb");
    for (i = 0; i < in; i++) {
        void *p = memory(bytes[i]);
        if (!f || fread(p, 1, bytes[i], f) != bytes[i]) {
            perror(words[4]);
            return 2;
        }
        inputs[i] = p;
    }
    fclose(f);
    for (i = 0; i < out; i++) outputs[i] = memset(memory(bytes[in + i]), 0, bytes[in + i]);

    long before = peak();
    long long start = now();
    void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
    invoke *run = library ? (invoke *)dlsym(library, words[2]) : NULL;
    if (!run) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    long long loaded = now();
    struct context context = {arena(strtoull(words[3], NULL, 10)), NULL, NULL, NULL};
    int32_t status = run(inputs, outputs, &context);
    long long first = now();
    if (status == 0) status = run(inputs, outputs, &context);
    long long second = now();
    long after = peak();
    if (status != 0) {
        fprintf(stderr, "status %d\n", (int)status);
        return 2;
    }
    f = fopen(words[5], "wb");
    for (i = 0; i < out; i++)
        if (!f || fwrite(outputs[i], 1, bytes[in + i], f) != bytes[in + i]) {
            perror(words[5]);
            return 2;
        }
    fclose(f);
    printf("%lld %lld %lld %ld %ld\n", loaded - start, first - loaded, second - first, before, after);
    return 0;
}
