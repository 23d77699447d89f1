/* The serial port of qemu's `virt` board for Arm, a PL011. */
#include <stdint.h>

void serial_put(char c);

void serial_put(char c) {
    volatile uint32_t *port = (volatile uint32_t *)0x09000000;
    while (port[6] & 1u << 5) {
    } /* full */
    port[0] = (unsigned char)c;
}
