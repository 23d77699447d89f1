/* Runs kernels in an emulated process: requests on standard input, what they leave in memory on standard output.
 *
 * A request is a struct request, a struct buffer for each buffer, the code, and the contents of the buffers, each of one
 * part or of two that are `distance` bytes apart. The kernel gets a pointer for each buffer, all between pages that fault.
 * The answer is, for each buffer, whether the bytes around it are as they were (1) or not (0), then all contents. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST = 32, PAGE = 4096, MARGIN = 0xa5 };

struct request {
    uint32_t code_bytes, buffers, at_end;
};
struct buffer {
    uint64_t distance;
    uint32_t bytes[2];
};
struct piece {
    unsigned char *pages, *contents;
    size_t page_bytes, bytes;
};

static void receive(void *to, size_t bytes) {
    if (bytes && fread(to, 1, bytes, stdin) != bytes) exit(2);
}

static void send(const void *from, size_t bytes) {
    if (bytes && fwrite(from, 1, bytes, stdout) != bytes) exit(2);
}

static void *map(size_t bytes, int protection) {
    void *pages = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) exit(3);
    return pages;
}

static size_t whole_pages(size_t bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static struct piece open_piece(unsigned char *pages, size_t page_bytes, size_t bytes, int at_end) {
    struct piece piece = {pages, at_end ? pages + page_bytes - bytes : pages, page_bytes, bytes};
    if (mprotect(pages, page_bytes, PROT_READ | PROT_WRITE)) exit(3);
    memset(pages, MARGIN, page_bytes);
    receive(piece.contents, bytes);
    return piece;
}

static int intact(const struct piece *piece) {
    for (size_t i = 0; i < piece->page_bytes; i++) {
        const unsigned char *p = piece->pages + i;
        if ((p < piece->contents || p >= piece->contents + piece->bytes) && *p != MARGIN) return 0;
    }
    return 1;
}

typedef void kernel(void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                    void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                    void *, void *, void *, void *, void *, void *);

int main(void) {
    struct request request;
    while (fread(&request, sizeof request, 1, stdin) == 1) {
        struct buffer buffers[MOST];
        struct piece pieces[MOST][2];
        void *whole[MOST];
        size_t whole_bytes[MOST];
        void *p[MOST] = {0};
        if (request.buffers > MOST) return 4;
        receive(buffers, request.buffers * sizeof *buffers);
        size_t code_bytes = whole_pages(request.code_bytes + 1);
        unsigned char *code = map(code_bytes, PROT_READ | PROT_WRITE);
        receive(code, request.code_bytes);
        if (mprotect(code, code_bytes, PROT_READ | PROT_EXEC)) return 3;
        __builtin___clear_cache((char *)code, (char *)code + code_bytes);
        for (uint32_t i = 0; i < request.buffers; i++) {
            /* A page more than needed, so that there is a margin even where the contents fill their pages. */
            size_t bytes = buffers[i].distance ? PAGE : whole_pages(buffers[i].bytes[0]) + PAGE;
            whole_bytes[i] = buffers[i].distance + bytes + 2 * PAGE;
            whole[i] = map(whole_bytes[i], PROT_NONE);
            unsigned char *first = (unsigned char *)whole[i] + PAGE;
            pieces[i][0] = open_piece(first, bytes, buffers[i].bytes[0], request.at_end && !buffers[i].distance);
            if (buffers[i].distance)
                pieces[i][1] = open_piece(first + buffers[i].distance, bytes, buffers[i].bytes[1], 0);
            p[i] = pieces[i][0].contents;
        }
        ((kernel *)code)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14],
                         p[15], p[16], p[17], p[18], p[19], p[20], p[21], p[22], p[23], p[24], p[25], p[26], p[27],
                         p[28], p[29], p[30], p[31]);
        for (uint32_t i = 0; i < request.buffers; i++) {
            unsigned char good = intact(&pieces[i][0]) && (!buffers[i].distance || intact(&pieces[i][1]));
            send(&good, 1);
        }
        for (uint32_t i = 0; i < request.buffers; i++) {
            send(pieces[i][0].contents, pieces[i][0].bytes);
            if (buffers[i].distance) send(pieces[i][1].contents, pieces[i][1].bytes);
            munmap(whole[i], whole_bytes[i]);
        }
        munmap(code, code_bytes);
        fflush(stdout);
    }
    return 0;
}
