/* Runs a compiled network without an operating system, a C library or a heap, and prints what it gives.

   avocet compile examples/bare_metal/tiny.toml --target aarch64-none-elf -o build
   aarch64-linux-gnu-gcc -O2 -ffreestanding -nostdlib -static -Ibuild -T aarch64/link.ld aarch64/start.S aarch64/serial.c \
       main.c build/libtiny.a -o tiny.elf
   qemu-system-aarch64 -M virt -cpu cortex-a53 -semihosting -display none -serial stdio -kernel tiny.elf

   For RISC-V: riscv64gc-unknown-none-elf, riscv64-linux-gnu-gcc -mcmodel=medany, the files of riscv64/, and
   qemu-system-riscv64 -M virt -bios none. */
#include "tiny.h"

/* What the board's file provides. */
void serial_put(char c);

static float image[TINY_INPUT_0_ELEMENTS], scores[TINY_OUTPUT_0_ELEMENTS];
static unsigned char arena[TINY_ARENA_BYTES] __attribute__((aligned(TINY_ARENA_ALIGNMENT)));

static void print(const char *text) {
    while (*text) serial_put(*text++);
}

/* A number as its bits, which needs no conversion to decimal and loses nothing. */
static void print_bits(float value) {
    union {
        float value;
        uint32_t bits;
    } u = {value};
    int shift;
    for (shift = 28; shift >= 0; shift -= 4) serial_put("0123456789abcdef"[u.bits >> shift & 15]);
}

int main(void) {
    int i, status;
    /* Stands for a picture. */
    for (i = 0; i < TINY_INPUT_0_ELEMENTS; i++) image[i] = (float)(i * 7919 % 2003) / 1001.5f - 1.0f;
    status = tiny_run(image, scores, arena);
    if (status != AVOCET_OK) {
        print("the network refuses its pointers\n");
        return 1;
    }
    for (i = 0; i < TINY_OUTPUT_0_ELEMENTS; i++) {
        print_bits(scores[i]);
        print("\n");
    }
    return 0;
}
