/* Why something with the store failed: one sentence for people, beside the status code. */
#ifndef SLUICE_STORE_WHY_H
#define SLUICE_STORE_WHY_H

/* Write the sentence (one per thread, until the next) and return it. */
const char *why_says(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
