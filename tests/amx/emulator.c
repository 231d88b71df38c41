/* Emulates AMX (amx-tile, amx-bf16, amx-int8) and the AVX512-BF16 and AVX-VNNI instructions that the kernels use, on an
 * x86-64 processor with AVX-512 and without AMX. This is a test tool. tests/amx/run.sh builds it and loads it with
 * LD_PRELOAD.
 *
 *   - CPUID: the constructor replaces every CPUID instruction of Rust's `__cpuid_count` in the program with UD2. The signal
 *     handler executes CPUID and adds the bits of the emulated features.
 *   - Permission: `syscall` is interposed and returns success for ARCH_REQ_XCOMP_PERM.
 *   - Instructions: an unknown instruction raises SIGILL. The handler decodes and executes it. Each thread has its own tile
 *     state. Arithmetic follows the pseudocode of Intel's Software Developer's Manual, volume 2: the same order of
 *     additions, rounding to nearest even, and subnormal numbers read and written as zero.
 *
 * The emulator ends the process with a message if the processor would raise an exception (a tile that is not configured,
 * shapes that do not match) or if the form of an instruction is not implemented. If AMX_EMULATOR_COUNTS names a file, the
 * emulator writes the number of executed instructions to it at exit, with one "name number" per line. The line
 * `arch_prctl` is the number of requests for the permission.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64, LANES = 16 };

enum { LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED, TDPBF16PS, TDPBSSD, TDPBSUD, TDPBUSD, TDPBUUD,
       VDPBF16PS, VCVTNE2PS2BF16, VPDPBUSD, CPUID, ARCH_PRCTL, COUNTED };

static const char *const names[COUNTED] = {
    "ldtilecfg", "tilerelease", "tilezero", "tileloadd", "tilestored", "tdpbf16ps", "tdpbssd", "tdpbsud", "tdpbusd",
    "tdpbuud", "vdpbf16ps", "vcvtne2ps2bf16", "vpdpbusd", "cpuid",
    "arch_prctl",
};

static atomic_ulong counts[COUNTED];

/* The memory image of a tile configuration. */
struct configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

struct tile {
    unsigned rows, row_bytes;
    _Alignas(64) uint8_t data[ROWS][ROW_BYTES];
};

static _Thread_local __attribute__((tls_model("initial-exec"))) struct tile tiles[TILES];
static _Thread_local __attribute__((tls_model("initial-exec"))) int configured;

static __attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)!write(STDERR_FILENO, "amx emulator: ", 14);
    (void)!write(STDERR_FILENO, line, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(70);
}

static void check(int holds, const char *what) {
    if (!holds) {
        fail("the processor would raise an exception: %s", what);
    }
}

static void count(int instruction) { atomic_fetch_add_explicit(&counts[instruction], 1, memory_order_relaxed); }

/* The operands of an instruction, decoded from its VEX or EVEX prefix, ModRM and SIB. */
struct operands {
    unsigned map, prefix, wide, length, broadcast, mask, opcode;
    unsigned reg, rm, vector; /* Register numbers from ModRM.reg, ModRM.rm and the prefix's vvvv field. */
    int is_memory;
    uintptr_t address;
    long stride; /* The scaled index, which tile loads and stores use as the row stride. */
    uintptr_t end;
};

static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/* Decodes ModRM, SIB and displacement. `r`, `x` and `b` extend the register numbers. An 8-bit displacement is in units of
 * `unit` bytes. */
static void decode_modrm(struct operands *operands, const greg_t *values, const uint8_t *at, unsigned r, unsigned x,
                         unsigned b, unsigned unit) {
    unsigned mod = *at >> 6, rm = *at & 7;
    operands->reg = (*at >> 3 & 7) | r << 3;
    operands->rm = rm | b << 3;
    operands->is_memory = mod != 3;
    at++;
    if (mod == 3) {
        operands->end = (uintptr_t)at;
        return;
    }
    uintptr_t base = 0;
    long stride = 0;
    int relative = 0;
    if (rm == 4) {
        unsigned index = (*at >> 3 & 7) | x << 3, of_base = *at & 7;
        if (index != 4) {
            stride = (long)((unsigned long)values[registers[index]] << (*at >> 6));
        }
        at++;
        if (of_base == 5 && mod == 0) {
            mod = 4;
        } else {
            base = (uintptr_t)values[registers[of_base | b << 3]];
        }
    } else if (rm == 5 && mod == 0) {
        relative = 1;
        mod = 4;
    } else {
        base = (uintptr_t)values[registers[rm | b << 3]];
    }
    long displacement = 0;
    if (mod == 1) {
        displacement = (long)(int8_t)*at * (long)unit;
        at++;
    } else if (mod != 0) {
        int32_t read;
        memcpy(&read, at, sizeof read);
        displacement = read;
        at += sizeof read;
    }
    operands->end = (uintptr_t)at;
    operands->stride = stride;
    operands->address = base + (uintptr_t)displacement + (relative ? operands->end : 0);
}

static int decode_vex(struct operands *operands, const greg_t *values, const uint8_t *at) {
    if (at[0] != 0xc4) {
        return 0;
    }
    *operands = (struct operands){
        .map = at[1] & 31, .prefix = at[2] & 3, .wide = at[2] >> 7, .length = at[2] >> 2 & 1,
        .vector = ~at[2] >> 3 & 15, .opcode = at[3],
    };
    decode_modrm(operands, values, at + 4, ~at[1] >> 7 & 1, ~at[1] >> 6 & 1, ~at[1] >> 5 & 1, 1);
    return 1;
}

static int decode_evex(struct operands *operands, const greg_t *values, const uint8_t *at) {
    if (at[0] != 0x62) {
        return 0;
    }
    *operands = (struct operands){
        .map = at[1] & 7, .prefix = at[2] & 3, .wide = at[2] >> 7, .length = at[3] >> 5 & 3,
        .broadcast = at[3] >> 4 & 1, .mask = at[3] & 7,
        .vector = (~at[2] >> 3 & 15) | (~at[3] >> 3 & 1) << 4, .opcode = at[4],
    };
    unsigned x = ~at[1] >> 6 & 1;
    decode_modrm(operands, values, at + 5, ~at[1] >> 7 & 1, x, ~at[1] >> 5 & 1, operands->broadcast ? 4 : 64);
    operands->reg |= (~at[1] >> 4 & 1) << 4;
    operands->rm |= x << 4;
    return 1;
}

static struct tile *tile(unsigned number) {
    check(configured, "tile registers are not configured");
    check(number < TILES && tiles[number].rows > 0, "the tile is not configured");
    return &tiles[number];
}

static void load_configuration(const struct configuration *read) {
    check(read->palette <= 1, "LDTILECFG: palette");
    memset(tiles, 0, sizeof tiles);
    configured = read->palette;
    check(read->start_row == 0, "LDTILECFG: start row, which is not emulated");
    for (int byte = 0; byte < 14; byte++) {
        check(read->reserved[byte] == 0, "LDTILECFG: reserved bytes");
    }
    for (int index = 0; index < 16 && configured; index++) {
        unsigned rows = read->rows[index], row_bytes = read->row_bytes[index];
        check(index < TILES || (rows == 0 && row_bytes == 0), "LDTILECFG: tiles beyond the eighth");
        check(rows <= ROWS && row_bytes <= ROW_BYTES, "LDTILECFG: size");
        check((rows == 0) == (row_bytes == 0), "LDTILECFG: rows or columns alone are zero");
        if (index < TILES) {
            tiles[index].rows = rows;
            tiles[index].row_bytes = row_bytes;
        }
    }
}

static void load(struct tile *into, const struct operands *operands) {
    memset(into->data, 0, sizeof into->data);
    for (unsigned row = 0; row < into->rows; row++) {
        const void *from = (const void *)(operands->address + (uintptr_t)((long)row * operands->stride));
        memcpy(into->data[row], from, into->row_bytes);
    }
}

static void store(const struct tile *from, const struct operands *operands) {
    for (unsigned row = 0; row < from->rows; row++) {
        void *into = (void *)(operands->address + (uintptr_t)((long)row * operands->stride));
        memcpy(into, from->data[row], from->row_bytes);
    }
}

static __m512i first_half(__m512i pairs) { return _mm512_slli_epi32(pairs, 16); }

static __m512i second_half(__m512i pairs) { return _mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000)); }

/* Returns `sums + a * b` for the first or the second value of each bf16 pair. */
static __m512 multiply_add(__m512 sums, __m512i a, __m512i b, int is_second) {
    __m512i left = is_second ? second_half(a) : first_half(a), right = is_second ? second_half(b) : first_half(b);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(left), _mm512_castsi512_ps(right), sums);
}

static __m512i row_of(const struct tile *tile, unsigned row) { return _mm512_load_si512(tile->data[row]); }

static __m512i word_of(const struct tile *tile, unsigned row, unsigned word) {
    int read;
    memcpy(&read, tile->data[row] + 4 * word, sizeof read);
    return _mm512_set1_epi32(read);
}

static void multiply_bf16(struct tile *sums, const struct tile *a, const struct tile *b) {
    for (unsigned row = 0; row < sums->rows; row++) {
        __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
        for (unsigned step = 0; step < a->row_bytes / 4; step++) {
            __m512i left = word_of(a, row, step), right = row_of(b, step);
            first = multiply_add(first, left, right, 0);
            second = multiply_add(second, left, right, 1);
        }
        __m512 sum = _mm512_add_ps(_mm512_castsi512_ps(row_of(sums, row)), _mm512_add_ps(first, second));
        __mmask16 written = (__mmask16)((1u << sums->row_bytes / 4) - 1);
        _mm512_store_si512(sums->data[row], _mm512_maskz_mov_epi32(written, _mm512_castps_si512(sum)));
    }
}

/* Extends one byte of every 32-bit word to a word, with or without sign. */
static __m512i byte_of(__m512i words, unsigned byte, int is_signed) {
    __m512i upper = _mm512_sll_epi32(words, _mm_cvtsi32_si128((int)(24 - 8 * byte)));
    return is_signed ? _mm512_srai_epi32(upper, 24) : _mm512_srli_epi32(upper, 24);
}

/* Adds the products of the four byte pairs in each 32-bit word to `sums`. */
static __m512i multiply_add_bytes(__m512i sums, __m512i a, __m512i b, int a_signed, int b_signed) {
    for (unsigned byte = 0; byte < 4; byte++) {
        sums = _mm512_add_epi32(sums, _mm512_mullo_epi32(byte_of(a, byte, a_signed), byte_of(b, byte, b_signed)));
    }
    return sums;
}

static void multiply_int8(struct tile *sums, const struct tile *a, const struct tile *b, int a_signed, int b_signed) {
    for (unsigned row = 0; row < sums->rows; row++) {
        __m512i sum = row_of(sums, row);
        for (unsigned step = 0; step < a->row_bytes / 4; step++) {
            sum = multiply_add_bytes(sum, word_of(a, row, step), row_of(b, step), a_signed, b_signed);
        }
        __mmask16 written = (__mmask16)((1u << sums->row_bytes / 4) - 1);
        _mm512_store_si512(sums->data[row], _mm512_maskz_mov_epi32(written, sum));
    }
}

static void multiply(const struct operands *operands, int instruction) {
    check(operands->reg != operands->rm && operands->reg != operands->vector && operands->rm != operands->vector,
          "a product names a tile twice");
    struct tile *sums = tile(operands->reg);
    const struct tile *a = tile(operands->rm), *b = tile(operands->vector);
    check(sums->row_bytes % 4 == 0 && a->row_bytes % 4 == 0 && b->row_bytes % 4 == 0, "a product's row is no whole words");
    check(sums->rows == a->rows, "a product's sums and left tile differ in rows");
    check(a->row_bytes / 4 == b->rows, "a product's left and right tile differ in steps");
    check(sums->row_bytes == b->row_bytes, "a product's sums and right tile differ in columns");
    if (instruction == TDPBF16PS) {
        multiply_bf16(sums, a, b);
    } else {
        int a_signed = instruction == TDPBSSD || instruction == TDPBSUD;
        int b_signed = instruction == TDPBSSD || instruction == TDPBUSD;
        multiply_int8(sums, a, b, a_signed, b_signed);
    }
}

/* Executes an AMX instruction and returns its index in `names`. Returns -1 for any other instruction. */
static int execute_amx(const struct operands *operands) {
    enum { NONE, P66, PF3, PF2 };
    static const int int8_products[] = {TDPBUUD, TDPBUSD, TDPBSUD, TDPBSSD};
    if (operands->map != 2 || operands->wide || operands->length) {
        return -1;
    }
    if (operands->opcode == 0x49 && operands->prefix == NONE && operands->is_memory) {
        load_configuration((const struct configuration *)operands->address);
        return LDTILECFG;
    }
    if (operands->opcode == 0x49 && operands->prefix == NONE) {
        memset(tiles, 0, sizeof tiles);
        configured = 0;
        return TILERELEASE;
    }
    if (operands->opcode == 0x49 && operands->prefix == PF2 && !operands->is_memory) {
        memset(tile(operands->reg)->data, 0, sizeof tiles->data);
        return TILEZERO;
    }
    if (operands->opcode == 0x4b && operands->is_memory && operands->prefix != NONE) {
        if (operands->prefix == PF3) {
            store(tile(operands->reg), operands);
            return TILESTORED;
        }
        load(tile(operands->reg), operands);
        return TILELOADD;
    }
    if (operands->opcode == 0x5c && operands->prefix == PF3 && !operands->is_memory) {
        multiply(operands, TDPBF16PS);
        return TDPBF16PS;
    }
    if (operands->opcode == 0x5e && !operands->is_memory) {
        multiply(operands, int8_products[operands->prefix]);
        return int8_products[operands->prefix];
    }
    return -1;
}

/* Byte offsets of vector register components in the interrupted thread's XSAVE area. */
static struct {
    unsigned upper_ymm, upper_zmm, high_zmm;
} offsets;

static uint8_t *part(uint8_t *area, unsigned number, unsigned quarter) {
    if (number >= 16) {
        return area + offsets.high_zmm + 64 * (number - 16) + 16 * quarter;
    }
    if (quarter == 0) {
        return area + 160 + 16 * number;
    }
    if (quarter == 1) {
        return area + offsets.upper_ymm + 16 * number;
    }
    return area + offsets.upper_zmm + 32 * number + 16 * (quarter - 2);
}

/* Writes zeros to the components of the XSAVE area that are in their initial state and marks them as present, so that they
 * can be read and written. */
static void initialise_vectors(uint8_t *area) {
    static const unsigned components[] = {1, 2, 6, 7}, sizes[] = {256, 256, 512, 1024};
    uint64_t present;
    memcpy(&present, area + 512, sizeof present);
    for (int index = 0; index < 4; index++) {
        uint64_t bit = (uint64_t)1 << components[index];
        if (!(present & bit)) {
            unsigned starts[] = {160, offsets.upper_ymm, offsets.upper_zmm, offsets.high_zmm};
            memset(area + starts[index], 0, sizes[index]);
            present |= bit;
        }
    }
    memcpy(area + 512, &present, sizeof present);
}

static __m512i read_vector(uint8_t *area, unsigned number) {
    _Alignas(64) uint8_t bytes[64];
    for (unsigned quarter = 0; quarter < 4; quarter++) {
        memcpy(bytes + 16 * quarter, part(area, number, quarter), 16);
    }
    return _mm512_load_si512(bytes);
}

static void write_vector(uint8_t *area, unsigned number, __m512i vector) {
    _Alignas(64) uint8_t bytes[64];
    _mm512_store_si512(bytes, vector);
    for (unsigned quarter = 0; quarter < 4; quarter++) {
        memcpy(part(area, number, quarter), bytes + 16 * quarter, 16);
    }
}

static uint16_t to_bf16(uint32_t bits) {
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    if (magnitude < 0x00800000) {
        return (uint16_t)(bits >> 16 & 0x8000);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Executes VDPBF16PS or VCVTNE2PS2BF16 on 512 bits without a mask, and returns its index in `names`. Returns -1 for any
 * other instruction. */
static int execute_avx512_bf16(const struct operands *operands, uint8_t *area) {
    int is_product = operands->opcode == 0x52 && operands->prefix == 2;
    int is_conversion = operands->opcode == 0x72 && operands->prefix == 3;
    if (operands->map != 2 || operands->wide || operands->length != 2 || operands->mask || !(is_product || is_conversion)) {
        return -1;
    }
    initialise_vectors(area);
    __m512i b;
    if (!operands->is_memory) {
        b = read_vector(area, operands->rm);
    } else {
        uintptr_t address = operands->address + (uintptr_t)operands->stride;
        if (operands->broadcast) {
            int word;
            memcpy(&word, (const void *)address, sizeof word);
            b = _mm512_set1_epi32(word);
        } else {
            b = _mm512_loadu_si512((const void *)address);
        }
    }
    __m512i a = read_vector(area, operands->vector);
    if (is_product) {
        __m512 sums = _mm512_castsi512_ps(read_vector(area, operands->reg));
        sums = multiply_add(multiply_add(sums, a, b, 1), a, b, 0);
        write_vector(area, operands->reg, _mm512_castps_si512(sums));
        return VDPBF16PS;
    }
    _Alignas(64) uint32_t from[2 * LANES];
    _Alignas(64) uint16_t to[2 * LANES];
    _mm512_store_si512(from, b);
    _mm512_store_si512(from + LANES, a);
    for (int index = 0; index < 2 * LANES; index++) {
        to[index] = to_bf16(from[index]);
    }
    write_vector(area, operands->reg, _mm512_load_si512(to));
    return VCVTNE2PS2BF16;
}

/* Executes AVX-VNNI's VPDPBUSD (products of unsigned and signed bytes) on 256 bits, and returns its index in `names`.
 * Returns -1 for any other instruction. */
static int execute_avx_vnni(const struct operands *operands, uint8_t *area) {
    if (operands->map != 2 || operands->wide || !operands->length || operands->opcode != 0x50 || operands->prefix != 1) {
        return -1;
    }
    initialise_vectors(area);
    __m512i b;
    if (operands->is_memory) {
        const void *address = (const void *)(operands->address + (uintptr_t)operands->stride);
        b = _mm512_zextsi256_si512(_mm256_loadu_si256(address));
    } else {
        b = read_vector(area, operands->rm);
    }
    __m512i sums = read_vector(area, operands->reg), a = read_vector(area, operands->vector);
    __m256i product = _mm512_castsi512_si256(multiply_add_bytes(sums, a, b, 0, 1));
    write_vector(area, operands->reg, _mm512_zextsi256_si512(product));
    return VPDPBUSD;
}

/* Executes CPUID and adds the bits of the emulated features. */
static void execute_cpuid(greg_t *values) {
    unsigned leaf = (unsigned)values[REG_RAX], part = (unsigned)values[REG_RCX], a, b, c, d;
    __cpuid_count(leaf, part, a, b, c, d);
    if (leaf == 7 && part == 0) {
        d |= 1u << 22 | 1u << 24 | 1u << 25; /* amx-bf16, amx-tile, amx-int8 */
        a = a < 1 ? 1 : a;
    } else if (leaf == 7 && part == 1) {
        a |= 1u << 4 | 1u << 5; /* avx-vnni, avx512-bf16 */
    }
    values[REG_RAX] = a;
    values[REG_RBX] = b;
    values[REG_RCX] = c;
    values[REG_RDX] = d;
}

static void handle(int signal_number, siginfo_t *information, void *context) {
    (void)signal_number, (void)information;
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    greg_t *values = machine->gregs;
    /* The emulated instructions mask all exceptions, round to nearest, and treat subnormal numbers as zero. The return
     * from the handler restores the interrupted thread's MXCSR with its other registers. */
    _mm_setcsr(0x9fc0);
    for (int executed = 0;; executed++) {
        const uint8_t *at = (const uint8_t *)values[REG_RIP];
        struct operands operands;
        int instruction = -1;
        if (at[0] == 0x0f && at[1] == 0x0b && executed == 0) {
            execute_cpuid(values);
            values[REG_RIP] += 2;
            count(CPUID);
            return;
        }
        if (decode_vex(&operands, values, at)) {
            instruction = execute_amx(&operands);
            if (instruction < 0) {
                instruction = execute_avx_vnni(&operands, (uint8_t *)machine->fpregs);
            }
        } else if (decode_evex(&operands, values, at)) {
            instruction = execute_avx512_bf16(&operands, (uint8_t *)machine->fpregs);
        }
        if (instruction < 0) {
            if (executed > 0) {
                return;
            }
            fail("an instruction that is not emulated: %02x %02x %02x %02x %02x %02x %02x", at[0], at[1], at[2], at[3],
                 at[4], at[5], at[6]);
        }
        count(instruction);
        values[REG_RIP] = (greg_t)operands.end;
    }
}

/* Replaces CPUID with UD2 in the sequence that Rust's `__cpuid_count` compiles to: mov REGISTER, rbx; cpuid;
 * xchg REGISTER, rbx. */
static int replace_cpuid(struct dl_phdr_info *program, size_t size, void *replaced) {
    (void)size;
    for (int index = 0; index < program->dlpi_phnum; index++) {
        const ElfW(Phdr) *segment = &program->dlpi_phdr[index];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X)) {
            continue;
        }
        uint8_t *start = (uint8_t *)(program->dlpi_addr + segment->p_vaddr), *end = start + segment->p_memsz;
        uint8_t *page = (uint8_t *)((uintptr_t)start & ~(uintptr_t)4095);
        if (mprotect(page, (size_t)(end - page), PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
            fail("mprotect of the program's text: %s", strerror(errno));
        }
        for (uint8_t *at = start + 3; at + 5 <= end; at++) {
            if (at[0] == 0x0f && at[1] == 0xa2 && (at[-3] & 0xfe) == 0x48 && at[-2] == 0x89 && (at[-1] & 0xf8) == 0xd8
                && (at[2] & 0xfa) == 0x48 && at[3] == 0x87) {
                at[1] = 0x0b;
                ++*(int *)replaced;
            }
        }
        mprotect(page, (size_t)(end - page), PROT_READ | PROT_EXEC);
    }
    return 1; /* Stops after the first object, which is the program itself. */
}

static unsigned offset_of(unsigned component) {
    unsigned a, b, c, d;
    __cpuid_count(0xd, component, a, b, c, d);
    return b;
}

static int replaced;

static __attribute__((constructor)) void start(void) {
    dl_iterate_phdr(replace_cpuid, &replaced);
    if (replaced == 0) {
        return; /* The process is a shell or another program that the tests start. */
    }
    offsets.upper_ymm = offset_of(2);
    offsets.upper_zmm = offset_of(6);
    offsets.high_zmm = offset_of(7);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigaction(SIGILL, &action, NULL);
}

static __attribute__((destructor)) void report(void) {
    const char *path = replaced ? getenv("AMX_EMULATOR_COUNTS") : NULL;
    FILE *file = path ? fopen(path, "w") : NULL;
    for (int instruction = 0; file && instruction < COUNTED; instruction++) {
        fprintf(file, "%s %lu\n", names[instruction], atomic_load(&counts[instruction]));
    }
    if (file) {
        fclose(file);
    }
}

/* Replaces glibc's `syscall`. Counts requests for the AMX permission and returns success; other calls are unchanged. */
long syscall(long number, ...) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int index = 0; index < 6; index++) {
        arguments[index] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_arch_prctl && arguments[0] == REQUEST_PERMISSION && arguments[1] == TILE_DATA) {
        count(ARCH_PRCTL);
        return 0;
    }
    register long fourth __asm__("r10") = arguments[3];
    register long fifth __asm__("r8") = arguments[4];
    register long sixth __asm__("r9") = arguments[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]), "r"(fourth), "r"(fifth),
                       "r"(sixth)
                     : "rcx", "r11", "memory");
    if ((unsigned long)result >= (unsigned long)-4095) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
