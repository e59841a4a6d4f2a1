/* Base32 of RFC 4648, section 6. */
#ifndef BASE32_H
#define BASE32_H

#include <stddef.h>

/* How many characters `base32_encode` writes for `size` bytes, without the zero at the end. */
size_t base32_encoded_size(size_t size);

/* Writes the text of `size` bytes and a zero to `out`, which has room for base32_encoded_size(size) + 1. */
void base32_encode(const unsigned char *bytes, size_t size, char *out);

/* Writes the bytes of a text of `size` characters to `out`, which has room for size / 8 * 5 bytes. Gives how many
 * there are, or -1 when the text is not Base32. */
long base32_decode(const char *text, size_t size, unsigned char *out);

#endif
