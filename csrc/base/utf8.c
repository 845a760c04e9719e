/* UTF-8, byte by byte; see utf8.h. */
#include "base/utf8.h"

/* The least and the most that the second byte of a character may be, by its first (Unicode,
 * table 3-7); the later ones are 80 to bf. */
static unsigned char least_second(unsigned char lead) {
    return lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
}

static unsigned char most_second(unsigned char lead) {
    return lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
}

size_t utf8_broken(const unsigned char *p, size_t left) {
    size_t whole = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2, n = 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < 2) return 1;
    if (p[1] < least_second(p[0]) || p[1] > most_second(p[0])) return 1;
    while (n < whole && n < left && (p[n] & 0xc0) == 0x80) n++;
    return n;
}

uint32_t utf8_code(const unsigned char *p, size_t length) {
    static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = p[0] & first[length];
    for (size_t i = 1; i < length; i++) code = code << 6 | (p[i] & 0x3f);
    return code;
}

size_t utf8_write(char out[UTF8_MAX], uint32_t code) {
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[n] | code);
    return n;
}

/* Unicode's categories Cc, Cf, Zl and Zp, and what its Default_Ignorable_Code_Point has
 * besides (fillers, variation selectors); in order, neighbours are joined. */
static const struct {
    uint32_t first, last;
} hidden[] = {
    {0, 0x1f},          {0x7f, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},
    {0x600, 0x605},     {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},
    {0x890, 0x891},     {0x8e2, 0x8e2},     {0x115f, 0x1160},   {0x17b4, 0x17b5},
    {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
    {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
    {0xfff0, 0xfffb},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f},
    {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}};

bool utf8_is_hidden(uint32_t code) {
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (code <= hidden[i].last) return code >= hidden[i].first;
    return false;
}
