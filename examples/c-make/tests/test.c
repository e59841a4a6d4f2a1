/* test REPORT: runs the tests and writes what became of them as JUnit's XML. */
#include <stdio.h>
#include <string.h>

#include "base32.h"

static FILE *report;
static int failures;

static void result(const char *name, int passed, const char *got) {
  printf("%s %s\n", passed ? "ok  " : "FAIL", name);
  fprintf(report, "  <testcase classname=\"base32\" name=\"%s\">", name);
  if (!passed) fprintf(report, "<failure message=\"it gave '%s'\"/>", got);
  fprintf(report, "</testcase>\n");
  failures += !passed;
}

/* The vectors of RFC 4648, section 10. */
static const char *const vectors[][2] = {
    {"", ""},
    {"f", "MY======"},
    {"fo", "MZXQ===="},
    {"foo", "MZXW6==="},
    {"foob", "MZXW6YQ="},
    {"fooba", "MZXW6YTB"},
    {"foobar", "MZXW6YTBOI======"},
};

static const char *const wrong[] = {"A", "MY=====", "my======", "M1======", "MZ======", "M=======",
                                    "========", "MY======MZXW6YTB", "=MY====="};

int main(int argc, char **argv) {
  char name[64], text[64];
  unsigned char bytes[64];
  report = fopen(argc > 1 ? argv[1] : "/dev/null", "w");
  if (!report) return perror(argv[1]), 2;
  fputs("<testsuite name=\"base32\">\n", report);

  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    const char *plain = vectors[i][0], *encoded = vectors[i][1];
    snprintf(name, sizeof name, "encode '%s'", plain);
    base32_encode((const unsigned char *)plain, strlen(plain), text);
    result(name, strcmp(text, encoded) == 0 && strlen(text) == base32_encoded_size(strlen(plain)), text);

    snprintf(name, sizeof name, "decode '%s'", encoded);
    long count = base32_decode(encoded, strlen(encoded), bytes);
    result(name, count == (long)strlen(plain) && memcmp(bytes, plain, (size_t)count) == 0, "other bytes");
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(name, sizeof name, "refuse '%s'", wrong[i]);
    result(name, base32_decode(wrong[i], strlen(wrong[i]), bytes) == -1, "bytes");
  }

  fputs("</testsuite>\n", report);
  fclose(report);
  return failures > 0;
}
