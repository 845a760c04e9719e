/* Numbers as text and back, the same in every locale: the one place that does it. */
#ifndef SLUICE_BASE_NUMBER_H
#define SLUICE_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/* Room for any number and a NUL; the longest is -1.7976931348623157e+308. */
#define NUMBER_TEXT_MAX 28

/* Write a double with the fewest digits that read back as the same double (of several,
 * the ones nearest to it), and a NUL; returns the length. Whole numbers within 64 bits
 * are written in full, others as 0.25, 1.5e-7 or 1e+22. What is no number is written as
 * nan, inf or -inf. [any thread] */
size_t number_text(char out[NUMBER_TEXT_MAX], double number);

/* The same for an integer. */
size_t number_text_integer(char out[NUMBER_TEXT_MAX], int64_t number);

/* Read the number in decimal that starts at 'p', as JSON writes them but also with a
 * leading '+' or zeros: the double nearest to it, infinite when it is beyond them all.
 * Returns where it ends; 'p', and 0, when there is none. The text ends with a byte that no number
 * holds, say its NUL. [any thread] */
const char *number_read(const char *p, double *out);

#endif
