/* b32 [-d]: encodes standard input, or decodes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base32.h"

static unsigned char *read_all(size_t *size) {
  size_t room = 1 << 16;
  unsigned char *bytes = malloc(room);
  *size = 0;
  while (bytes) {
    *size += fread(bytes + *size, 1, room - *size, stdin);
    if (*size < room) return bytes;
    unsigned char *more = realloc(bytes, room *= 2);
    if (!more) free(bytes);
    bytes = more;
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("b32 " VERSION) < 0;
  int decode = argc == 2 && strcmp(argv[1], "-d") == 0;
  if (argc > 2 || (argc == 2 && !decode)) return fputs("usage: b32 [-d]\n", stderr), 2;

  size_t size;
  unsigned char *bytes = read_all(&size);
  if (!bytes) return fputs("b32: out of memory\n", stderr), 1;
  int failed = 0;
  if (decode) {
    while (size > 0 && (bytes[size - 1] == '\n' || bytes[size - 1] == '\r')) size--;
    /* In place: what is written never overtakes what is read. */
    long count = base32_decode((char *)bytes, size, bytes);
    if (count < 0) fputs("b32: this is not Base32\n", stderr);
    failed = count < 0 || fwrite(bytes, 1, (size_t)count, stdout) != (size_t)count;
  } else {
    char *text = malloc(base32_encoded_size(size) + 1);
    if (text) base32_encode(bytes, size, text);
    failed = !text || puts(text) < 0;
    free(text);
  }
  free(bytes);
  return failed;
}
