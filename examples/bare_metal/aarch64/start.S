// Start of qemu's `virt` board with one 64-bit Arm core: floating point, memory map, stack, main, exit.
    .section .text.start, "ax"
    .global _start
_start:
    // Floating point and NEON trap until they are allowed.
    mov x0, #(3 << 20)
    msr cpacr_el1, x0

    // Without a memory map all memory counts as a device, where accesses that are not aligned fault; networks make such.
    adrp x0, map
    add x0, x0, :lo12:map
    msr ttbr0_el1, x0
    mov x0, #0xff00                 // attribute 0: device; attribute 1: memory, cached
    msr mair_el1, x0
    ldr x0, =0x803519               // 39 bits of address, pages of 4 KiB, tables cached, no upper half
    msr tcr_el1, x0
    isb
    mrs x0, sctlr_el1
    mov x1, #0x1005                 // map, data cache, instruction cache
    orr x0, x0, x1
    bic x0, x0, #2                  // no alignment check
    msr sctlr_el1, x0
    isb

    adrp x0, stack_top
    add sp, x0, :lo12:stack_top
    adrp x0, bss_start
    add x0, x0, :lo12:bss_start
    adrp x1, bss_end
    add x1, x1, :lo12:bss_end
1:  cmp x0, x1
    b.hs 2f
    str xzr, [x0], #8
    b 1b
2:  bl main

    // Semihosting: exit with main's result.
    adrp x1, result
    add x1, x1, :lo12:result
    str x0, [x1, #8]
    mov w0, #0x18
    hlt #0xf000
3:  wfi
    b 3b

    .section .data
    .balign 4096
map:                                // a GiB an entry: devices, memory, nothing
    .quad 0x00000000 | 0x401
    .quad 0x40000000 | 0x705
    .fill 510, 8, 0
result:
    .quad 0x20026, 0                // "application exit", status
