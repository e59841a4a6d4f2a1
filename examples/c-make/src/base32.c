#include "base32.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

size_t base32_encoded_size(size_t size) { return (size + 4) / 5 * 8; }

void base32_encode(const unsigned char *bytes, size_t size, char *out) {
  for (size_t at = 0; at < size; at += 5) {
    size_t left = size - at < 5 ? size - at : 5;
    unsigned long long block = 0;
    for (size_t i = 0; i < 5; i++) block = block << 8 | (i < left ? bytes[at + i] : 0);
    /* 1 to 5 bytes fill 2, 4, 5, 7 or 8 characters. */
    size_t filled = (left * 8 + 4) / 5;
    for (size_t i = 0; i < 8; i++) *out++ = i < filled ? alphabet[block >> (35 - 5 * i) & 31] : '=';
  }
  *out = '\0';
}

static int value(char letter) {
  if (letter >= 'A' && letter <= 'Z') return letter - 'A';
  if (letter >= '2' && letter <= '7') return letter - '2' + 26;
  return -1;
}

long base32_decode(const char *text, size_t size, unsigned char *out) {
  static const int whole[] = {-1, -1, 1, -1, 2, 3, -1, 4, 5};
  long count = 0;
  if (size % 8 != 0) return -1;
  for (size_t at = 0; at < size; at += 8) {
    unsigned long long block = 0;
    size_t filled = 8;
    while (filled > 0 && text[at + filled - 1] == '=') filled--;
    int bytes = whole[filled];
    /* Only the last block may be padded. */
    if (bytes < 0 || (filled < 8 && at + 8 < size)) return -1;
    for (size_t i = 0; i < 8; i++) {
      int bits = i < filled ? value(text[at + i]) : 0;
      if (bits < 0) return -1;
      block = block << 5 | (unsigned)bits;
    }
    /* What is left over must be zero, or two texts would mean the same. */
    if (bytes < 5 && (block & ((1ULL << (40 - 8 * bytes)) - 1)) != 0) return -1;
    for (int i = 0; i < bytes; i++) out[count++] = (unsigned char)(block >> (32 - 8 * i));
  }
  return count;
}
