// What a program gives back when it has come to rest: when, how much, and nothing that anyone wrote.
#include <malloc.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/footprint.h"
#include "tests/unit/cases.h"

static int trims;

// In place of the C library's, which sanitizers' heaps don't have.
int malloc_trim(size_t pad)
{
	(void)pad;
	trims++;
	return 1;
}

struct looks {
	const char *name;
	const char *news; // a look each: n for news, - for none
	const char *want; // g where memory is given back
};

static struct looks looks[] = {
	{"nothing was built yet", "---", "---"},
	{"the first look without news", "n-", "-g"},
	{"not while there are news", "nnn", "---"},
	{"once", "n---", "-g--"},
	{"after each time that something was built", "n-nn--n-", "-g--g--g"},
};

static void note_looks(void **state)
{
	const struct looks *row = *state;
	struct footprint f = {0};
	char got[16] = "";
	for (size_t i = 0; row->news[i] != '\0'; i++) {
		trims = 0;
		bool said = footprint_note(&f, row->news[i] == 'n');
		assert_int_equal(trims, said ? 1 : 0);
		got[i] = said ? 'g' : '-';
	}
	assert_text(got, row->want);
}

// Resident pages of files.
static long count_resident(void)
{
	long files = 0;
	CLEANUP_FCLOSE FILE *f = fopen("/proc/self/statm", "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d %*d %ld", &files), 1);
	return files;
}

static void settle(struct footprint *f)
{
	(void)footprint_note(f, true);
	assert_true(footprint_note(f, false));
}

static int written = 1;
static const char *const pointed[] = {"what linking", "has written"};

static void keeps_what_was_written(void **state)
{
	(void)state;
	struct footprint f = {0};
	written = 2;
	settle(&f);
	assert_int_equal(written, 2);
	assert_text(pointed[1], "has written");
	// A library works on: its code comes back from its file, its data was never gone.
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	assert_int_equal(EVP_Digest("", 0, digest, &n, EVP_sha256(), NULL), 1);
	assert_int_equal(digest[0], 0xE3);
}

static void drops_pages_of_files_once(void **state)
{
	(void)state;
	struct footprint f = {0};
	unsigned char digest[EVP_MAX_MD_SIZE];
	assert_int_equal(EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL), 1);
	long before = count_resident();
	settle(&f);
	long after = count_resident();
	if (after > before / 2)
		fail_msg("%ld pages of files are resident, of %ld", after, before);
	// What came back is in use, and stays.
	assert_int_equal(EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL), 1);
	before = count_resident();
	settle(&f);
	after = count_resident();
	if (after < before)
		fail_msg("%ld pages of files are resident after the second time, of %ld", after, before);
}

int main(void)
{
	static struct tests tests;
	ADD_TABLE(&tests, looks, note_looks);
	tests_add(&tests, "what was written stays", keeps_what_was_written, NULL);
	tests_add(&tests, "pages of files go, the first time", drops_pages_of_files_once, NULL);
	return tests_run("footprint", &tests);
}
