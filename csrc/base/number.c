/* The shortest text of a double, after Raffaello Giulietti's "The Schubfach way to render
 * doubles" (2020), and reading.
 *
 * A double is c * 2^q; every real number between the middles to its neighbours reads back
 * as it (the middles too, when c is even). Scaled by the power of ten 10^-k that makes this
 * interval 1 to 10 wide, there is a whole number in it, and at most one that ends with a
 * zero: that one is shorter and wins, else the nearest. The scaled ends and the double
 * itself are needed to two bits behind the point and one that says "and something more",
 * which a 64 x 128 bit product with the power of ten gives. The powers are worked out
 * once, at the first number, from exact powers of five. */
#include "base/number.h"

#include "base/decimal.h"

#include <assert.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FRACTION_BITS 52
#define EXPONENT_BIAS (1023 + FRACTION_BITS)
#define POWER_LEAST (-292) /* the powers of ten that doubles are scaled by */
#define POWER_MOST 324

/* The first 128 bits of a power of ten, rounded up. */
struct power {
    uint64_t high, low;
};

static struct power powers[POWER_MOST - POWER_LEAST + 1];
static locale_t plain; /* numbers have a point */
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

/* ---- Powers of ten ------------------------------------------------------------------ */

/* 5^324 has 753 bits. 2^RECIPROCAL_BITS / 5^292 has more than 128. */
#define RECIPROCAL_BITS 832
#define LIMBS (RECIPROCAL_BITS / 32 + 1)
#define MARGIN 4 /* limbs of zeros below, so that a small number has 128 bits too */

struct big {
    uint32_t limbs[MARGIN + LIMBS + 2]; /* the lowest first */
};

static void big_multiply(struct big *b, uint32_t factor) {
    uint64_t carry = 0;
    for (int i = MARGIN; i < MARGIN + LIMBS; i++) {
        carry += (uint64_t)b->limbs[i] * factor;
        b->limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static void big_divide(struct big *b, uint32_t divisor) {
    uint64_t rest = 0;
    for (int i = MARGIN + LIMBS - 1; i >= MARGIN; i--) {
        rest = rest << 32 | b->limbs[i];
        b->limbs[i] = (uint32_t)(rest / divisor);
        rest %= divisor;
    }
}

/* Its bits from 'from' to from + 63. */
static uint64_t big_bits(const struct big *b, int from) {
    const uint32_t *at = &b->limbs[from / 32];
    int shift = from % 32;
    uint64_t bits = ((uint64_t)at[1] << 32 | at[0]) >> shift;
    return shift ? bits | (uint64_t)at[2] << (64 - shift) : bits;
}

/* The first 128 bits; one more when 'more' bits or others follow. */
static struct power big_start(const struct big *b, bool more) {
    int top = MARGIN + LIMBS - 1;
    while (b->limbs[top] == 0) top--;
    int from = 32 * top - 127;
    for (uint32_t limb = b->limbs[top]; limb > 1; limb >>= 1) from++;
    struct power p = {.high = big_bits(b, from + 64), .low = big_bits(b, from)};
    for (int i = 0; i < from && !more; i++) more = b->limbs[i / 32] >> (i % 32) & 1;
    if (more && ++p.low == 0) p.high++;
    return p;
}

/* 10^k is 5^k with other trailing bits. Dividing floors again and again floors once, and
 * no 2^n is a multiple of 5: bits are always missing. */
static void prepare(void) {
    struct big power = {{0}}, reciprocal = {{0}};
    power.limbs[MARGIN] = 1;
    for (int k = 0; k <= POWER_MOST; k++) {
        powers[k - POWER_LEAST] = big_start(&power, false);
        big_multiply(&power, 5);
    }
    reciprocal.limbs[MARGIN + RECIPROCAL_BITS / 32] = 1;
    for (int k = -1; k >= POWER_LEAST; k--) {
        big_divide(&reciprocal, 5);
        powers[k - POWER_LEAST] = big_start(&reciprocal, true);
    }
    plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    assert(plain);
}

/* ---- Digits ------------------------------------------------------------------------- */

/* digits * 10^exponent */
struct decimal {
    uint64_t digits;
    int exponent;
};

/* floor(log2(10^k)), floor(log10(2^q)) and floor(log10(3/4 * 2^q)), right for all doubles. */
static int log2_of_power10(int k) {
    return (k * 1741647) >> 19;
}

static int log10_of_power2(int q) {
    return (q * 1262611) >> 22;
}

static int log10_of_three_quarters(int q) {
    return (q * 1262611 - 524031) >> 22;
}

/* The upper and the lower half of a product. */
static uint64_t multiply(uint64_t a, uint64_t b, uint64_t *low) {
    uint64_t a1 = a >> 32, a0 = (uint32_t)a, b1 = b >> 32, b0 = (uint32_t)b;
    uint64_t p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
    uint64_t middle = p10 + (p00 >> 32) + (uint32_t)p01;
    *low = middle << 32 | (uint32_t)p00;
    return p11 + (middle >> 32) + (p01 >> 32);
}

/* The part of power * n above 128 bits, its last bit set when anything follows. The power
 * is rounded up, by less than what a product of these can end with. */
static uint64_t scale(struct power power, uint64_t n) {
    uint64_t unused, low, high;
    uint64_t carry = multiply(power.low, n, &unused);
    high = multiply(power.high, n, &low);
    low += carry;
    high += low < carry;
    return high | (low > 1);
}

/* The digits of c * 2^q; 'even': its ends read back as it; 'closer': its lower neighbour
 * is half as far away as the upper. */
static struct decimal shortest(uint64_t c, int q, bool even, bool closer) {
    int k = closer ? log10_of_three_quarters(q) : log10_of_power2(q);
    int shift = q + log2_of_power10(-k) + 1;
    struct power power = powers[-k - POWER_LEAST];
    uint64_t value = scale(power, (4 * c) << shift); /* all three in quarters */
    uint64_t lower = scale(power, (4 * c - 2 + closer) << shift) + !even;
    uint64_t upper = scale(power, (4 * c + 2) << shift) - !even;
    uint64_t whole = value / 4;
    if (whole >= 10) {
        uint64_t tens = whole / 10;
        bool below = lower <= 40 * tens, above = 40 * tens + 40 <= upper;
        if (below != above) return (struct decimal){tens + above, k + 1};
    }
    bool below = lower <= 4 * whole, above = 4 * whole + 4 <= upper;
    if (below != above) return (struct decimal){whole + above, k};
    uint64_t middle = 4 * whole + 2;
    bool up = value > middle || (value == middle && whole % 2 == 1);
    return (struct decimal){whole + up, k};
}

/* Digits of a positive double, without zeros at the end. */
static struct decimal digits_of(uint64_t fraction, int exponent) {
    uint64_t c = exponent ? fraction | (uint64_t)1 << FRACTION_BITS : fraction;
    int q = (exponent ? exponent : 1) - EXPONENT_BIAS;
    struct decimal d = shortest(c, q, c % 2 == 0, fraction == 0 && exponent > 1);
    while (d.digits % 10000 == 0) d.digits /= 10000, d.exponent += 4;
    while (d.digits % 10 == 0) d.digits /= 10, d.exponent++;
    return d;
}

/* ---- Text --------------------------------------------------------------------------- */

static size_t put(char *out, const char *p, size_t n) {
    memcpy(out, p, n);
    return n;
}

/* 1.25e-7, from 125 and the exponent of its first digit */
static size_t write_scientific(char *out, const char *digits, size_t n, int exponent) {
    char buffer[8], *end = buffer + sizeof buffer;
    char *text = decimal_before(end, (uint64_t)abs(exponent));
    size_t at = put(out, digits, 1);
    if (n > 1) {
        out[at++] = '.';
        at += put(out + at, digits + 1, n - 1);
    }
    out[at++] = 'e';
    out[at++] = exponent < 0 ? '-' : '+';
    return at + put(out + at, text, (size_t)(end - text));
}

/* 0.00125 or 12.5: there are digits behind the point */
static size_t write_positional(char *out, const char *digits, size_t n, int exponent) {
    if (exponent >= 0) {
        size_t whole = (size_t)exponent + 1, at = put(out, digits, whole);
        out[at++] = '.';
        return at + put(out + at, digits + whole, n - whole);
    }
    size_t at = put(out, "0.000", (size_t)(1 - exponent));
    return at + put(out + at, digits, n);
}

#define SCIENTIFIC_BELOW (-4) /* exponent of the first digit: 0.0001, but 1e-5 */

static size_t write_fraction(char *out, uint64_t fraction, int exponent) {
    char buffer[20], *end = buffer + sizeof buffer;
    struct decimal d = digits_of(fraction, exponent);
    char *digits = decimal_before(end, d.digits);
    size_t n = (size_t)(end - digits);
    int first = d.exponent + (int)n - 1;
    if (first < SCIENTIFIC_BELOW || d.exponent >= 0)
        return write_scientific(out, digits, n, first);
    return write_positional(out, digits, n, first);
}

static size_t write_whole(char *out, uint64_t n) {
    char buffer[20], *end = buffer + sizeof buffer;
    char *digits = decimal_before(end, n);
    return put(out, digits, (size_t)(end - digits));
}

#define WHOLE_MAX 9223372036854775808.0 /* 2^63: from here on no integer of 64 bits */

size_t number_text(char out[NUMBER_TEXT_MAX], double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint64_t fraction = bits & (((uint64_t)1 << FRACTION_BITS) - 1);
    int exponent = (int)(bits >> FRACTION_BITS & 0x7ff);
    double size = fabs(number);
    size_t n = 0;
    if (bits >> 63 && !isnan(number)) out[n++] = '-';
    if (isnan(number)) n += put(out + n, "nan", 3);
    else if (isinf(number)) n += put(out + n, "inf", 3);
    else if (size < WHOLE_MAX && size == (double)(uint64_t)size)
        n += write_whole(out + n, (uint64_t)size);
    else {
        pthread_once(&prepared, prepare);
        n += write_fraction(out + n, fraction, exponent);
    }
    out[n] = '\0';
    return n;
}

size_t number_text_integer(char out[NUMBER_TEXT_MAX], int64_t number) {
    size_t n = 0;
    if (number < 0) out[n++] = '-';
    n += write_whole(out + n, number < 0 ? -(uint64_t)number : (uint64_t)number);
    out[n] = '\0';
    return n;
}

/* ---- Reading ------------------------------------------------------------------------ */

#define EXACT_DIGITS 15 /* any so many digits fit a double, and so does 10^22 */
#define EXACT_POWER 22

static const double exact_powers[EXACT_POWER + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* digits.digits without exponent, at most 15 in all: both parts of the fraction are exact,
 * so that one division rounds once. Where it ends, or NULL: it is another kind. */
static const char *read_short(const char *p, double *out) {
    uint64_t digits = 0;
    int n = 0, behind = 0;
    bool negative = *p == '-';
    p += negative || *p == '+';
    for (; *p >= '0' && *p <= '9'; p++, n++) digits = 10 * digits + (uint64_t)(*p - '0');
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9'; p++, n++, behind++)
            digits = 10 * digits + (uint64_t)(*p - '0');
    if (n == 0 || n > EXACT_DIGITS || *p == 'e' || *p == 'E' || FLT_EVAL_METHOD != 0)
        return NULL;
    double size = (double)digits / exact_powers[behind];
    *out = negative ? -size : size;
    return p;
}

const char *number_read(const char *p, double *out) {
    const char *end = read_short(p, out), *first = p + (*p == '-' || *p == '+');
    if (end) return end;
    if ((*first < '0' || *first > '9') && *first != '.')
        return *out = 0, p; /* not "nan" */
    pthread_once(&prepared, prepare);
    char *stop;
    *out = strtod_l(p, &stop, plain);
    return stop;
}
