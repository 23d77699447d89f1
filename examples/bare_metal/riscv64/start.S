# Start of qemu's `virt` board with a 64-bit RISC-V core: floating point, stack, main, exit.
    .section .text.start, "ax"
    .global _start
_start:
    csrr t0, mhartid
    bnez t0, 3f
    # Floating point traps until its state is switched on.
    li t0, 1 << 13
    csrs mstatus, t0
    csrw fcsr, zero

    la sp, stack_top
    la t0, bss_start
    la t1, bss_end
1:  bgeu t0, t1, 2f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
2:  call main

    # The board's test device ends qemu: 0x5555 for success, 0x3333 with a status above it for failure.
    li t0, 0x100000
    li t1, 0x5555
    beqz a0, 4f
    slli a0, a0, 16
    li t1, 0x3333
    or t1, t1, a0
4:  sw t1, 0(t0)
3:  wfi
    j 3b
