/* The serial port of qemu's `virt` board for RISC-V, a 16550. */
#include <stdint.h>

void serial_put(char c);

void serial_put(char c) {
    volatile uint8_t *port = (volatile uint8_t *)0x10000000;
    while (!(port[5] & 1u << 5)) {
    } /* full */
    port[0] = (uint8_t)c;
}
